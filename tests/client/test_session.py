"""Sessions: CLIENT acknowledge, recover, transactions, and what closing does to them."""

import asyncio

import pytest

import unimsg
from unimsg import Connection, Queue

from .counting import counted

IN, OUT = Queue("in"), Queue("out")


async def fill(connection: Connection, *bodies: object) -> None:
    async with connection.producer(IN) as producer:
        for body in bodies:
            await producer.send(body)


async def rest(connection: Connection, queue: Queue = IN) -> list[tuple[object, int]]:
    """Return what is left on a queue, up to a message that marks the end."""
    async with connection.producer(queue) as producer:
        await producer.send("end")
    found = []
    async with connection.consumer(queue) as consumer:
        while (message := await consumer.receive()).body != "end":
            found.append((message.body, counted(connection, message.delivery_count)))
    return found


async def test_client_mode_acknowledges_all_that_the_session_delivered(connection: Connection) -> None:
    await fill(connection, 1, 2, 3)
    async with connection.producer(OUT) as producer:
        await producer.send("a")
    async with connection.session("client") as session, session.consumer(IN) as one, session.consumer(OUT) as two:
        first = await one.receive()
        await one.receive()
        await two.receive()
        assert session.in_hand == 3
        await first.acknowledge()
        assert session.in_hand == 0
    assert await rest(connection) == [(3, 1)]
    assert await rest(connection, OUT) == []


async def test_what_a_client_session_did_not_acknowledge_comes_back_counted(connection: Connection) -> None:
    await fill(connection, 1, 2)
    async with connection.session("client") as session, session.consumer(IN) as consumer:
        await consumer.receive()
    assert await rest(connection) == [(1, 2), (2, 1)]


async def test_recover_delivers_again_in_order(connection: Connection) -> None:
    await fill(connection, *range(5))
    async with connection.session("client") as session, session.consumer(IN) as consumer:
        assert [(await consumer.receive()).body for _ in range(3)] == [0, 1, 2]
        await session.recover()
        got = [await consumer.receive() for _ in range(5)]
        assert [(m.body, m.delivery_count) for m in got] == [(0, 2), (1, 2), (2, 2), (3, 1), (4, 1)]
        await got[-1].acknowledge()
    assert await rest(connection) == []


async def test_recovered_messages_that_are_not_shown_again_stay_counted(connection: Connection) -> None:
    await fill(connection, "x")
    async with connection.session("client") as session, session.consumer(IN) as consumer:
        await consumer.receive()
        await session.recover()
    assert await rest(connection) == [("x", 2)]


async def test_a_closed_consumer_s_messages_stay_the_session_s(connection: Connection) -> None:
    await fill(connection, 1, 2)
    async with connection.session("client") as session:
        async with session.consumer(IN) as consumer:
            message = await consumer.receive()
        await message.acknowledge()
    assert await rest(connection) == [(2, 1)]


async def test_commit_does_both_and_rollback_neither(connection: Connection) -> None:
    await fill(connection, 1, 2)
    async with connection.session("transacted") as session, session.consumer(IN) as incoming, session.producer(OUT) as outgoing:
        message = await incoming.receive()
        await outgoing.send("never")
        await session.rollback()
        message = await incoming.receive()
        assert (message.body, message.delivery_count) == (1, 2)
        receipt = await outgoing.submit("once")
        assert receipt.done()
        await session.commit()
    assert await rest(connection) == [(2, 1)]
    assert await rest(connection, OUT) == [("once", 1)]


async def test_nothing_of_a_transaction_is_seen_before_its_commit(connection: Connection) -> None:
    async with connection.session("transacted") as session, session.producer(OUT) as outgoing, connection.consumer(OUT) as watcher:
        await outgoing.send("later")
        async with connection.producer(OUT) as producer:
            await producer.send("sooner")
        assert (await watcher.receive()).body == "sooner"
        await session.commit()
        assert (await watcher.receive()).body == "later"


async def test_closing_rolls_back(connection: Connection) -> None:
    await fill(connection, 1)
    async with connection.session("transacted") as session, session.consumer(IN) as incoming, session.producer(OUT) as outgoing:
        await incoming.receive()
        await outgoing.send("never")
    assert await rest(connection) == [(1, 2)]
    assert await rest(connection, OUT) == []


async def test_a_transaction_that_is_cancelled_rolls_back(connection: Connection) -> None:
    await fill(connection, 1)
    async with connection.session("transacted") as session, session.consumer(IN) as incoming, session.producer(OUT) as outgoing:
        reached = asyncio.Event()

        async def work() -> None:
            async with session.transaction():
                await incoming.receive()
                await outgoing.send("never")
                reached.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with session.transaction():
            assert (await incoming.receive()).redelivered
            await outgoing.send("done")
    assert await rest(connection) == []
    assert await rest(connection, OUT) == [("done", 1)]


async def test_a_cancelled_commit_is_carried_out_and_waited_for(connection: Connection) -> None:
    await fill(connection, *range(20))
    async with connection.session("transacted") as session, session.consumer(IN) as incoming, session.producer(OUT) as outgoing:
        for _ in range(20):
            message = await incoming.receive()
            await outgoing.send(message.body)
            committing = asyncio.create_task(session.commit())
            await asyncio.sleep(0)
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)
        await session.commit()
    got = [body for body, _ in await rest(connection, OUT)]
    left = [body for body, _ in await rest(connection)]
    assert sorted([*got, *left], key=str) == sorted(range(20), key=str)  # each either moved or stayed, and never both


async def test_a_transaction_may_hold_more_than_the_prefetch(connection: Connection) -> None:
    await fill(connection, *range(50))
    async with connection.session("transacted") as session, session.consumer(IN, prefetch=3) as incoming:
        assert [(await incoming.receive()).body for _ in range(50)] == list(range(50))
        await session.commit()
    assert await rest(connection) == []


async def test_each_call_has_its_modes(connection: Connection) -> None:
    async with connection.session("client") as session:
        for call in (session.commit, session.rollback):
            with pytest.raises(unimsg.IllegalStateError, match="transacted"):
                await call()
    async with connection.session("transacted") as session:
        with pytest.raises(unimsg.IllegalStateError, match="roll back"):
            await session.recover()
    with pytest.raises(unimsg.ClosedError):
        await session.commit()
    with pytest.raises(ValueError, match="mode is one of"):
        await connection.session("maybe")
