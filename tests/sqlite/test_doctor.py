"""The doctor says what is wrong with a file, and what mends it, and changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from unimsg.driver import Finding, Identity, Source
from unimsg.registry import URL
from unimsg_embedded import SqliteDriver

from .conftest import Connect
from .tools import Program, Q, send


async def diagnosis(path: Path, options: str = "") -> dict[str, Finding]:
    driver = SqliteDriver(URL(f"sqlite:///{path}{options}"), Identity("doctor"))
    return {finding.subject: finding async for finding in driver.diagnose()}


async def test_a_file_in_use_is_well(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, "1", "2")
    receiver = await driver.receiver(Source(Q), 1)
    await receiver.receive(1, 0)
    found = await diagnosis(path)
    assert {finding.level for finding in found.values()} <= {"ok", "warn"}
    assert "1 messages waiting, 1 in flight" in found["contents"].text
    assert "a live process with 1 connection" in found["connections"].text
    assert "quick_check found nothing" in found["integrity"].text
    assert "ms a commit" in found["durability"].text or "keeps nothing" in found["durability"].text


async def test_a_file_that_is_not_there_yet_is_no_failure_and_is_not_made(path: Path) -> None:
    found = await diagnosis(path)
    assert "not there yet" in found["path"].text
    assert {"disk", "durability"} <= set(found)
    assert list(path.parent.iterdir()) == []


async def test_a_missing_folder_fails_first(tmp_path: Path) -> None:
    found = await diagnosis(tmp_path / "no" / "broker.db")
    assert [(finding.level, finding.subject) for finding in found.values()] == [("fail", "path")]


async def test_another_programs_file_fails(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE song (title TEXT)")
    assert (await diagnosis(path))["file"].level == "fail"


async def test_a_damaged_file_fails(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, *("x" * 1000 for _ in range(400)))
    await driver.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 200 * 1024)  # noqa: ASYNC240
    found = await diagnosis(path)
    failed = [finding for finding in found.values() if finding.level == "fail"]
    assert failed
    assert any(".recover" in finding.text + finding.remedy for finding in failed)


async def test_the_dead_are_counted_and_sync_normal_is_named(path: Path) -> None:
    program = await Program.start(path, 'say("there"); await asyncio.sleep(600)')
    assert await program.line() == "there"
    await program.kill()
    found = await diagnosis(path, "?sync=normal")
    assert found["dead"].text.startswith("1 process died")
    assert found["durability"].level == "warn"
