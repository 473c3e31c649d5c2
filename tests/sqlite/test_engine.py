"""Operations that share a transaction: together they are one commit, and each stands or falls alone."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from unimsg.destination import Queue, TemporaryQueue, Topic
from unimsg.driver import Outcome, Settlement, Source
from unimsg.errors import ClosedError, InvalidDestinationError, MessageFormatError
from unimsg_embedded import SqliteDriver

from .conftest import Connect
from .tools import Q, drain, frame, send, texts


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        count: int = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count


async def test_what_is_sent_at_the_same_time_is_one_commit(connect: Connect) -> None:
    one, two = await connect(), await connect()
    senders = [await driver.sender(Q) for driver in (one, two)]
    before = one.engine.commits
    await asyncio.gather(*(sender.send([frame(f"{number}")]) for number in range(50) for sender in senders))
    assert one.engine is two.engine
    assert one.engine.commits - before <= 2
    assert len(await drain(one)) == 100


async def test_an_error_of_one_operation_is_nobody_elses(connect: Connect) -> None:
    driver = await connect()
    sender = await driver.sender(None)
    wrong = [frame("nowhere", TemporaryQueue("gone.1")), frame("surrogate", Queue("q\udc80")), frame("header", headers={"odd": object()})]
    outcomes = await asyncio.gather(
        *(sender.send([each]) for each in [frame("1"), wrong[0], frame("2"), wrong[1], frame("3"), wrong[2]]), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [type(None), InvalidDestinationError, type(None), MessageFormatError, type(None), MessageFormatError]
    assert await drain(driver) == ["1", "2", "3"]


async def test_what_is_answered_is_in_the_file_for_everybody(connect: Connect, path: Path) -> None:
    driver = await connect()
    await send(driver, "1", "2")
    assert rows(path, "ready") == 2
    receiver = await driver.receiver(Source(Q), 10)
    (first,) = await receiver.receive(1, 0)
    assert (rows(path, "ready"), rows(path, "held"), rows(path, "message")) == (1, 1, 2)
    await receiver.settle([Settlement(first.token)])
    assert (rows(path, "ready"), rows(path, "held"), rows(path, "message")) == (1, 0, 1)


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_receive_keeps_nothing(connect: Connect, turns: int) -> None:
    """Wherever in its course it is cancelled, its message goes to the next one, with a count as if nobody had had it."""
    driver = await connect()
    await send(driver, "1")
    cancelled, other = [await driver.receiver(Source(Q), 10) for _ in range(2)]
    task = asyncio.create_task(cancelled.receive(10, None))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    if isinstance(outcome, list):  # it was ready before the cancellation came
        await cancelled.settle([Settlement(each.token, Outcome.UNSEEN) for each in outcome])
    assert [(each.frame.data, each.count) for each in await other.receive(10, 5)] == [(b"1", 1)]


@pytest.mark.parametrize("turns", range(1, 6))
async def test_a_receive_cancelled_while_the_disk_is_waited_for_keeps_nothing(connect: Connect, turns: int) -> None:
    driver = await connect()
    await send(driver, "1")
    cancelled, other = [await driver.receiver(Source(Q), 10) for _ in range(2)]
    sender = await driver.sender(None)
    task = asyncio.create_task(cancelled.receive(10, None))
    sending = asyncio.create_task(sender.send([frame("elsewhere", Queue("elsewhere"))]))  # in the same transaction, which waits for the disk
    for _ in range(turns):
        await asyncio.sleep(0)
    assert not sending.done()
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    await sending
    assert [(each.frame.data, each.count) for each in await other.receive(10, 5)] == [(b"1", 1)]


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_send_is_done_or_not(connect: Connect, turns: int) -> None:
    driver = await connect()
    sender = await driver.sender(Q)
    task = asyncio.create_task(sender.send([frame("1"), frame("2")]))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await sender.send([frame("3")])
    assert await drain(driver) in (["3"], ["1", "2", "3"])


async def test_closing_finishes_what_was_begun(connect: Connect) -> None:
    driver = await connect()
    sender = await driver.sender(Q)
    sending = [asyncio.create_task(sender.send([frame(f"{number}")])) for number in range(10)]
    await asyncio.sleep(0)
    await driver.close()
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    kept = [f"{number}" for number, outcome in enumerate(outcomes) if outcome is None]
    assert all(outcome is None or isinstance(outcome, ClosedError) for outcome in outcomes)
    assert await drain(await connect()) == kept


async def test_the_loop_that_cancels_everything_loses_nothing(connect: Connect) -> None:
    """Whoever cancels all tasks of a loop, the engine's among them, harms nobody's transaction."""
    driver = await connect()
    sender = await driver.sender(Q)
    sending = asyncio.create_task(sender.send([frame("1")]))
    for _ in range(5):
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task(), sending}:
            task.cancel()
    await sending
    assert await drain(driver) == ["1"]


async def test_an_open_that_fails_can_be_tried_again(connect: Connect, path: Path) -> None:
    from unimsg.errors import StoreError

    path.mkdir()  # noqa: ASYNC240
    with pytest.raises(StoreError):
        await connect()
    path.rmdir()  # noqa: ASYNC240
    await send(await connect(), "1")


async def test_connections_opened_at_the_same_time_share_the_file(connect: Connect) -> None:
    drivers = await asyncio.gather(*(connect() for _ in range(5)))
    assert len({id(driver.engine) for driver in drivers}) == 1
    await drivers[0].close()
    await send(drivers[1], "1")
    assert await drain(drivers[4]) == ["1"]


async def test_facts_that_a_stanza_does_not_say_come_back(connect: Connect) -> None:
    from datetime import UTC, datetime
    from decimal import Decimal

    from unimsg.values import Char, Float, Int, Vector

    driver = await connect()
    headers = {"plain": 1, "none": None, "bytes": b"\0\xff", "when": datetime(2026, 11, 22, tzinfo=UTC), "price": Decimal("1.50"), "deep": {"a": [1, b"x"]}}
    properties = {"int": Int(3), "float": Float(0.5), "char": Char("x"), "vector": Vector([1.5, 2.5]), "text": "\udc80é"}
    sent = frame(
        b"\0not a stanza", message_id="ID:1", correlation_id="c", reply_to="queue:r", type="t", timestamp=1.5, persistent=False, key="k", group="g", priority=7,
        once=True, content_type="text/plain", foreign=True, headers=headers, properties=properties,
    )  # fmt: skip
    await send(driver, sent)
    receiver = await driver.receiver(Source(Q), 1)
    (delivery,) = await receiver.receive(1, 0)
    assert delivery.frame == sent
    assert {name: type(value) for name, value in delivery.frame.route.properties.items()} == {name: type(value) for name, value in properties.items()}


async def test_a_large_body_for_many_is_kept_once_and_goes_with_the_last(connect: Connect, path: Path) -> None:
    driver = await connect()
    topic = Topic("t")
    receivers = [await driver.receiver(Source(topic), 10) for _ in range(4)]
    data = bytes(range(256)) * 400
    await send(driver, frame(data, topic))
    assert (rows(path, "body"), rows(path, "message")) == (1, 4)
    for left, receiver in zip((1, 1, 1, 0), receivers, strict=True):
        (delivery,) = await receiver.receive(1, 0)
        assert delivery.frame.data == data
        await receiver.settle([Settlement(delivery.token)])
        assert rows(path, "body") == left


async def test_a_take_stops_at_a_size_not_only_at_a_number(connect: Connect) -> None:
    driver = await connect()
    for _ in range(4):
        await send(driver, "x" * (3 << 20))
    receiver = await driver.receiver(Source(Q), 100)
    assert len(await receiver.receive(100, 0)) == 3
    assert len(await receiver.receive(100, 0)) == 1


async def test_a_selector_passes_over_what_it_was_shown_before_until_something_returns(connect: Connect) -> None:
    driver = await connect()
    picky, other = await driver.receiver(Source(Q, selector="n = 1"), 10), await driver.receiver(Source(Q), 10)
    await send(driver, *(frame(f"{number}", properties={"n": number}) for number in (0, 0, 1)))
    first = await picky.receive(10, 0)
    assert texts(first) == ["1"]
    await picky.settle([Settlement(first[0].token, Outcome.RELEASE)])  # before the place where it looks next
    assert [(each.frame.data, each.count) for each in await picky.receive(10, 0)] == [(b"1", 2)]
    assert texts(await other.receive(1, 0)) + texts(await other.receive(1, 0)) == ["0", "0"]


async def test_the_driver_says_what_it_can_do(path: Path) -> None:
    from unimsg.driver import Identity
    from unimsg.registry import URL

    full, normal = (SqliteDriver(URL(f"sqlite:///{path}?sync={sync}"), Identity("me")) for sync in ("full", "normal"))
    assert full.capabilities.native("persistent")
    assert "may lose" in normal.capabilities["persistent"].note
