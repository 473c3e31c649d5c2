"""Several processes on one file: they wake each other, take turns without an error, and the dead are buried at once."""
# ruff: noqa: ASYNC222, ASYNC240  - files are small here, and a forked child ends at once

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from unimsg.destination import TemporaryQueue, Topic
from unimsg.driver import Outcome, Settlement, Source
from unimsg.errors import IllegalStateError, InvalidClientIDError, InvalidDestinationError
from unimsg_embedded import SqliteDriver, sqlite_engine

from .conftest import Connect
from .tools import Program, Q, drain, send, texts

HOLD = """
receiver = await driver.receiver(Source(q), 10)
say("holds", *[d.frame.data.decode() for d in await receiver.receive(2, 10)])
await asyncio.sleep(600)
"""


async def test_what_one_process_sends_wakes_another(connect: Connect, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "LOOK", 3600.0)  # so that nothing but the pipe can have woken it
    driver = await connect()
    receiver = await driver.receiver(Source(Q), 10)
    program = await Program.start(path, "while line := await hear(): await sender.send([Frame(line.encode(), Route(q))])")
    for number in range(3):
        waiting = asyncio.create_task(receiver.receive(1, None))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await program.tell(f"{number}")
        (delivery,) = await waiting
        assert texts([delivery]) == [f"{number}"]
        await receiver.settle([Settlement(delivery.token)])
    await program.tell()
    assert await program.end() == 0


async def test_without_pipes_they_still_find_each_other(connect: Connect, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "mkfifo")
    driver = await connect()
    receiver = await driver.receiver(Source(Q), 10)
    program = await Program.start(path, 'await hear(); await sender.send([Frame(b"seen", Route(q))])')
    waiting = asyncio.create_task(receiver.receive(1, None))
    await asyncio.sleep(0.05)
    await program.tell()
    assert texts(await waiting) == ["seen"]
    await program.end()


async def test_room_made_by_another_process_lets_a_blocked_publisher_go_on(connect: Connect, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "LOOK", 3600.0)
    driver = await connect()
    program = await Program.start(
        path,
        """
receiver = await driver.receiver(Source(Topic("t"), overflow=Overflow("block", 2)), 10)
say("ready"); await hear()
for _ in range(3): say(*[d.frame.data.decode() for d in await receiver.receive(1, 10)])
await hear()
""",
    )
    assert await program.line() == "ready"
    sending = asyncio.create_task(send(driver, "1", "2", "3", to=Topic("t")))
    await asyncio.sleep(0.1)
    assert not sending.done()
    await program.tell()
    await sending
    assert [await program.line() for _ in range(3)] == ["1", "2", "3"]
    await program.kill()


async def test_what_a_killed_process_held_comes_back_at_once_counted(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, "1", "2", "3")
    program = await Program.start(path, HOLD)
    assert await program.line() == "holds 1 2"
    receiver = await driver.receiver(Source(Q), 10)
    assert [(each.frame.data, each.count) for each in await receiver.receive(10, 0)] == [(b"3", 1)]
    waiting = asyncio.create_task(receiver.receive(10, None))
    await program.kill()
    assert [(each.frame.data, each.count) for each in await waiting] == [(b"1", 2), (b"2", 2)]  # the lease is a minute: it was not waited for


async def test_a_killed_process_leaves_nothing_behind(connect: Connect, path: Path) -> None:
    driver = await connect()
    program = await Program.start(
        path,
        """
await driver.declare(TemporaryQueue("other.reply"))
live = await driver.receiver(Source(Topic("t")), 10)
durable = await driver.receiver(Source(Topic("t"), subscription="ledger", durable=True), 10)
say("there"); await asyncio.sleep(600)
""",
        client_id="bank",
    )
    assert await program.line() == "there"
    with pytest.raises(InvalidClientIDError):
        await connect("bank")
    assert len(await driver.inspect()) == 3
    await program.kill()
    again = await asyncio.wait_for(until_in(connect, "bank"), 20)
    (info,) = await again.inspect()
    assert (info.subscription, info.consumers) == ("ledger", 0)
    with pytest.raises(InvalidDestinationError):
        await send(again, "x", to=TemporaryQueue("other.reply"))
    await again.close()
    await driver.close()
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]


async def until_in(connect: Connect, client_id: str) -> SqliteDriver:
    while True:
        try:
            return await connect(client_id)
        except InvalidClientIDError:
            await asyncio.sleep(0.05)


async def test_who_opens_the_file_buries_those_that_died_when_nobody_looked(connect: Connect, path: Path) -> None:
    program = await Program.start(path, "await sender.send([Frame(b'1', Route(q)), Frame(b'2', Route(q))])\n" + HOLD, client_id="bank")
    assert await program.line() == "holds 1 2"
    await program.kill()
    driver = await connect("bank")
    receiver = await driver.receiver(Source(Q), 10)
    assert [(each.frame.data, each.count) for each in await receiver.receive(10, 0)] == [(b"1", 2), (b"2", 2)]
    assert len([each for each in path.parent.iterdir() if "-peer-" in each.name]) == 1


async def test_a_stopped_process_loses_its_lease_and_its_late_settlement_is_stale(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, "1")
    program = await Program.start(
        path,
        """
receiver = await driver.receiver(Source(q), 10)
(delivery,) = await receiver.receive(2, 10)
say("holds"); await hear()
say(await receiver.settle([Settlement(delivery.token)]) == [delivery.token])
""",
        options="?lease=0.5",
    )
    assert await program.line() == "holds"
    program.process.send_signal(signal.SIGSTOP)
    receiver = await driver.receiver(Source(Q), 10)
    ((delivery),) = await receiver.receive(10, None)
    assert delivery.count == 2
    assert await receiver.settle([Settlement(delivery.token)]) == []
    program.process.send_signal(signal.SIGCONT)
    await program.tell()
    assert await program.line() == "True"
    await program.end()


async def test_busy_never_reaches_anybody(connect: Connect, path: Path) -> None:
    """Six processes and a database shell, all writing: every message comes out once, in the order of its sender."""
    writers = [
        await Program.start(
            path,
            f"""
for number in range(100): await sender.send([Frame(b"{name} %d" % number, Route(q))])
say("done")
""",
            name=f"w{name}",
        )
        for name in range(4)
    ]
    shell = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
for _ in range(20):
    database.execute("BEGIN IMMEDIATE"); time.sleep(0.02); database.execute("COMMIT"); time.sleep(0.01)
""",
        str(path),
    )
    driver = await connect()
    receiver = await driver.receiver(Source(Q), 50)
    found: list[str] = []
    while len(found) < 400:
        some = await receiver.receive(50, None)
        assert await receiver.settle([Settlement(each.token) for each in some]) == []
        found += texts(some)
    for name, writer in enumerate(writers):
        assert await writer.line() == "done"
        assert await writer.end() == 0
        assert [text for text in found if text.startswith(f"{name} ")] == [f"{name} {number}" for number in range(100)]
    assert await shell.wait() == 0


async def test_the_loop_runs_on_while_another_program_keeps_the_file_locked(connect: Connect, path: Path) -> None:
    import sqlite3

    driver = await connect()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sending = asyncio.create_task(send(driver, "1"))
    for _ in range(50):  # each turn of the loop happens; a loop that is blocked would be so for 30 seconds
        await asyncio.sleep(0.002)
    assert not sending.done()
    other.execute("COMMIT")
    other.close()
    await sending
    assert await drain(driver) == ["1"]


async def test_a_reader_that_stays_does_not_stop_the_broker(connect: Connect, path: Path) -> None:
    """Somebody's open reading transaction keeps the log from starting anew; when it ends, the log is cut back."""
    import sqlite3

    driver = await connect()
    await send(driver, "first")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
    for _ in range(12):
        await send(driver, *("x" * 100_000 for _ in range(10)))
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
    reader.close()
    assert len(await drain(driver)) == 121
    await driver.close()
    assert not path.with_name(path.name + "-wal").exists()


async def test_a_forked_child_is_refused(connect: Connect, path: Path) -> None:
    driver = await connect()
    receiver = await driver.receiver(Source(Q), 10)
    end, start = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover
        told: list[object] = []
        for attempt in (driver.inspect(), receiver.receive(1, 0), connect()):
            try:
                asyncio.run(attempt)  # type: ignore[arg-type]
            except IllegalStateError as error:
                told.append("child" in str(error) or "fork" in str(error))
            except BaseException as error:  # noqa: BLE001  - whatever it is, the parent must be told
                told.append(repr(error))
        os.write(start, repr(told).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(start)
    said = os.read(end, 1000).decode()
    os.close(end)
    assert said == "[True, True, True]"
    await send(driver, "the parent goes on")
    assert texts(await receiver.receive(1, 0)) == ["the parent goes on"]


async def test_a_file_grows_no_further_once_it_has_held_as_much(connect: Connect, path: Path) -> None:
    driver = await connect(options="?sync=normal")
    sizes = []
    for _ in range(4):
        for _ in range(10):
            await send(driver, *("x" * 10_000 for _ in range(100)))
        await drain(driver)
        sizes.append(path.stat().st_size)
    assert sizes[3] <= 24 << 20  # 10 MiB of messages at a time, 40 in all
    for _ in range(60):
        await send(driver, *("x" * 10_000 for _ in range(100)))
    await drain(driver)
    assert path.stat().st_size > 24 << 20  # 60 MiB of messages at once
    await driver.close()
    assert path.stat().st_size <= 20 << 20  # the last to leave gives back what is more than a quarter


async def test_two_loops_in_one_process_share_the_file_as_processes_do(connect: Connect, path: Path) -> None:
    driver = await connect()
    receiver = await driver.receiver(Source(Q), 10)

    def elsewhere() -> None:
        async def main() -> None:
            other = await connect()
            await send(other, "from a thread")
            await other.close()

        asyncio.run(main())

    waiting = asyncio.create_task(receiver.receive(1, None))
    await asyncio.to_thread(elsewhere)
    (delivery,) = await waiting
    assert texts([delivery]) == ["from a thread"]
    assert await receiver.settle([Settlement(delivery.token, Outcome.RELEASE)]) == []
