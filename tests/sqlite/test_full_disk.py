"""A full disk: a clear error to whoever sends, nothing confirmed is lost, and it goes on when there is room again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from unimsg.driver import Settlement, Source
from unimsg.errors import StoreError

from .conftest import Connect
from .tools import Program, Q, drain, frame, send, texts

SIZE = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_refuses_what_it_cannot_keep_and_goes_on_when_there_is_room(connect: Connect, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    driver = await connect(at=small_disk / "broker.db")
    sender = await driver.sender(Q)
    ballast.write_bytes(bytes(2 << 20))
    confirmed: list[str] = []
    with pytest.raises(StoreError, match="the disk is full; make room") as caught:
        for number in range(10_000):
            text = f"{number} ".ljust(4000, "x")
            await sender.send([frame(text)])
            confirmed.append(text)
    assert str(small_disk / "broker.db") in str(caught.value)
    assert confirmed
    for _ in range(3):  # and again, for as long as it is full
        with pytest.raises(StoreError, match="the disk is full"):
            await sender.send([frame("y" * 500_000)])

    ballast.unlink()
    await sender.send([frame("after")])
    assert await drain(driver) == [*confirmed, "after"]
    await driver.close()
    assert await drain(await connect(at=small_disk / "broker.db")) == []


async def test_a_disk_full_from_the_start_leaves_a_file_that_can_be_opened_later(connect: Connect, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(SIZE - 16 * 1024))
    with pytest.raises(StoreError, match="the disk is full"):
        await connect(at=small_disk / "broker.db")
    ballast.unlink()
    driver = await connect(at=small_disk / "broker.db")
    await send(driver, "works")
    assert await drain(driver) == ["works"]


async def test_one_message_too_many_fails_alone_in_its_group(connect: Connect, small_disk: Path) -> None:
    """What is sent at the same time shares a transaction; what does not fit must not take the others down with it."""
    driver = await connect(at=small_disk / "broker.db")
    sender = await driver.sender(Q)
    big, small = frame("b" * (SIZE - 200_000)), [frame(f"small {number}") for number in range(5)]
    outcomes = await asyncio.gather(*(sender.send([each]) for each in [*small[:3], big, *small[3:]]), return_exceptions=True)
    assert [type(each) for each in outcomes] == [type(None)] * 3 + [StoreError] + [type(None)] * 2
    assert await drain(driver) == [f"small {number}" for number in range(5)]


async def test_a_limit_on_the_size_of_files_is_told_from_a_full_disk(path: Path) -> None:
    program = await Program.start(
        path,
        """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    for number in range(1000): await sender.send([Frame(b"x" * 10_000, Route(q))])
except Exception as error:
    say(type(error).__name__, number > 0, str(error))
""",
    )
    line = await program.line()
    assert line.startswith("StoreError True")
    assert str(path) in line
    await program.end()


async def test_deliveries_survive_a_full_disk(connect: Connect, small_disk: Path) -> None:
    """An acknowledgement that could not be kept is an error, and the message is not lost."""
    driver = await connect(at=small_disk / "broker.db")
    await send(driver, *(f"{number}" for number in range(20)))
    receiver = await driver.receiver(Source(Q), 20)
    held = await receiver.receive(20, 5)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    refused = 0
    for delivery in held:
        try:
            await receiver.settle([Settlement(delivery.token)])
        except StoreError:
            refused += 1
    ballast.unlink()
    await receiver.close()
    assert len(await drain(driver)) == refused
    assert texts(held) == [f"{number}" for number in range(20)]
