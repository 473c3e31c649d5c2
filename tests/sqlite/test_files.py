"""Which files are taken and which refused: clear errors, and what was there stays as it was."""
# ruff: noqa: ASYNC240  - the files are small

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from unimsg.broker.sqlite_file import APPLICATION, VERSION
from unimsg.driver import Identity
from unimsg.errors import IllegalStateError, InvalidURLError, StoreError
from unimsg.registry import URL
from unimsg_embedded import SqliteDriver

from .conftest import Connect
from .tools import drain, send


def driver_of(text: str) -> SqliteDriver:
    return SqliteDriver(URL(text), Identity("me"))


async def refused(connect: Connect, path: Path, *words: str) -> None:
    """Check that the file is refused with these words and its name, is as it was, and that nothing is left beside it."""
    before = path.read_bytes() if path.is_file() else None
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(StoreError) as caught:
        await connect(at=path)
    for word in (str(path), *words):
        assert word in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    left = {each.name for each in path.parent.iterdir()} - {each.name for each in beside or ()} if beside is not None else set()
    assert left <= {path.name + "-lock"}


def test_a_broker_in_memory_has_its_own_url() -> None:
    with pytest.raises(InvalidURLError, match="memory://"):
        driver_of("sqlite:///:memory:")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("sqlite://orders.db", "sqlite:///orders.db"),
        ("sqlite:///", "which file"),
        ("sqlite:///a.db?sync=maybe", "one of full, normal"),
        ("sqlite:///a.db?fsync=full", "there is no option 'fsync'"),
        ("sqlite:///a.db?lease=0", "lease"),
        ("sqlite:///a%00b", "which file"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_before_any_io(url: str, word: str) -> None:
    with pytest.raises(InvalidURLError) as caught:
        driver_of(url)
    assert word in str(caught.value)


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert driver_of("sqlite:///orders.db").path == tmp_path / "orders.db"
    assert driver_of("sqlite:///sub/orders.db").path == tmp_path / "sub" / "orders.db"
    assert driver_of("sqlite:////var/orders.db").path == Path("/var/orders.db")
    assert driver_of("sqlite:///a%20b.db").path == tmp_path / "a b.db"


async def test_a_file_that_is_no_sqlite_file_is_refused(connect: Connect, path: Path) -> None:
    path.write_text("dear diary, " * 100)
    await refused(connect, path, "another kind", "name another file")


async def test_another_programs_file_is_refused(connect: Connect, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE song (title TEXT)")
    await refused(connect, path, "belongs to another program", "1 tables")


async def test_a_file_with_another_application_id_is_refused_even_without_tables(connect: Connect, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA application_id=7")
    await refused(connect, path, "belongs to another program", "application id 7")


async def test_a_newer_version_is_refused(connect: Connect, path: Path) -> None:
    await (await connect()).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version={VERSION + 1}")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await refused(connect, path, "newer unimsg", f"version {VERSION + 1}", "update unimsg")


async def test_a_damaged_file_is_refused(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, *("x" * 1000 for _ in range(200)))
    await driver.close()
    whole = bytearray(path.read_bytes())
    whole[100:8192] = b"\xff" * (8192 - 100)  # the schema itself
    path.write_bytes(whole)
    await refused(connect, path, "damaged", ".recover")


async def test_a_file_cut_short_is_reported_as_damaged_by_whoever_reads_there(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, *("x" * 1000 for _ in range(400)))
    await driver.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 200 * 1024)
    with pytest.raises(StoreError, match="damaged"):
        await drain(await connect())


async def test_a_folder_is_refused(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="this is a folder"):
        await connect(at=tmp_path)


async def test_a_missing_folder_is_refused(connect: Connect, tmp_path: Path) -> None:
    await refused(connect, tmp_path / "no" / "broker.db", "there is no folder", "mkdir -p")
    assert not (tmp_path / "no").exists()


async def test_a_pipe_is_refused(connect: Connect, path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StoreError, match="no ordinary file"):
        await connect()


async def test_an_empty_file_becomes_ours(connect: Connect, path: Path) -> None:
    path.touch()
    await send(await connect(), "hello")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
        assert database.execute("PRAGMA user_version").fetchone()[0] == VERSION


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Make a file or folder immutable, even for root; skip the test where that cannot be."""
    try:
        done = subprocess.run(["chattr", "+i", str(path)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no chattr here")
    if done.returncode:
        pytest.skip(f"chattr +i does not work here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


async def test_a_read_only_file_is_refused_and_stays(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, "kept")
    await driver.close()
    with immutable(path):
        await refused(connect, path, "written", "permissions")
    assert await drain(await connect()) == ["kept"]


async def test_a_read_only_folder_is_refused(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, "kept")
    await driver.close()
    with immutable(path.parent):
        await refused(connect, path, "cannot be written")
    assert await drain(await connect()) == ["kept"]


async def test_messages_outlive_every_connection(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, "1", "2")
    await driver.close()
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]  # no side file is left
    assert await drain(await connect()) == ["1", "2"]


async def test_one_event_loop_cannot_want_two_kinds_of_sync(connect: Connect) -> None:
    await connect()
    with pytest.raises(IllegalStateError, match="sync=full"):
        await connect(options="?sync=normal")
