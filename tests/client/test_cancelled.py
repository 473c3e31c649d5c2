"""A call that is cancelled at any of its awaits leaves something that goes on working, and nothing behind at the broker."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import unimsg
from unimsg import Connection, Queue

QUEUE = Queue("q")
STEPS = 12

pytestmark = pytest.mark.timeout(30)


async def cancelled_at(step: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Start a call and cancel it after some turns of the event loop; tell whether that came in time."""
    task = asyncio.ensure_future(call())
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    return isinstance(outcome, asyncio.CancelledError)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what must become true; the test's deadline is the limit."""
    while not await true():  # noqa: ASYNC110  (the broker is asked; it tells nobody)
        await asyncio.sleep(0.005)


async def at_broker(url: str) -> tuple[int | None, int | None, int | None]:
    """Return what the queue holds, lends and serves, as a stranger sees it."""
    async with unimsg.connect(url) as other:
        (info,) = [info for info in await other.inspect() if info.destination == QUEUE]
    return info.depth, info.in_flight, info.consumers


@pytest.mark.parametrize("kind", ["consumer", "session", "shared session"])
async def test_closing_goes_on_when_its_caller_is_cancelled(url: str, kind: str) -> None:
    async with unimsg.connect(url) as connection, connection.producer(QUEUE) as producer:
        for step in range(1, STEPS):  # before its first step it has not been asked for
            await producer.send(step)
            session = None
            if kind == "consumer":
                consumer = await connection.consumer(QUEUE, mode="individual")
            else:
                session = await connection.session("individual")
                consumer = await session.consumer(QUEUE)
            assert (await consumer.receive()).body == step
            if kind == "shared session" and session is not None:
                await consumer.close()  # what it has in hand is the session's
            await cancelled_at(step, consumer.close if session is None else session.close)
            async with connection.consumer(QUEUE) as next_one:
                assert (await next_one.receive(timeout=5)) is not None

            async def nobody() -> bool:
                return await at_broker(url) == (0, 0, 0)

            await until(nobody)
        assert connection.health().consumers == 0


async def test_opening_a_consumer_leaves_none_behind(url: str) -> None:
    async with unimsg.connect(url) as connection, connection.producer(QUEUE):
        for step in range(STEPS):
            opened: list[unimsg.Consumer[object]] = []

            async def open_one(opened: list[unimsg.Consumer[object]] = opened) -> None:
                opened.append(await connection.consumer(QUEUE))

            await cancelled_at(step, open_one)
            for consumer in opened:
                await consumer.close()

            async def nobody() -> bool:
                return await at_broker(url) == (0, 0, 0)

            await until(nobody)
        assert connection.health().consumers == 0


async def test_a_cancelled_acknowledgement_travels_all_the_same(url: str) -> None:
    async with unimsg.connect(url) as connection, connection.producer(QUEUE) as producer, connection.consumer(QUEUE, mode="individual") as consumer:
        for step in range(STEPS):
            await producer.send(step)
            message = await consumer.receive()
            await cancelled_at(step, message.acknowledge)
            if not step:
                await message.acknowledge()  # it had not begun

            async def settled() -> bool:
                return (await at_broker(url))[:2] == (0, 0)

            await until(settled)


@pytest.mark.parametrize("how", ["release", "reject"])
async def test_a_cancelled_release_or_reject_leaves_the_message_in_hand_or_settled(url: str, how: str) -> None:
    async with unimsg.connect(url) as connection, connection.producer(QUEUE) as producer, connection.consumer(QUEUE, mode="individual") as consumer:
        for step in range(STEPS):
            await producer.send(step)
            message = await consumer.receive()
            await cancelled_at(step, getattr(message, how))
            await getattr(message, how)()
            assert consumer.in_hand == 0
            if how == "release":
                again = await consumer.receive()
                assert again.body == step
                await again.acknowledge()
        if how == "reject":
            letters = []
            async with connection.consumer(Queue("dead.q")) as dead:
                while (letter := await dead.receive(timeout=0)) is not None:
                    letters.append(letter.body)
            assert letters == list(range(STEPS))


async def test_a_producer_whose_close_was_cancelled_sends_what_it_has(url: str) -> None:
    for step in range(STEPS):
        async with unimsg.connect(url) as connection:
            producer = await connection.producer(QUEUE)
            receipts = [await producer.submit(number) for number in range(600)]
            await cancelled_at(step, producer.close)
        if step:
            assert [receipt.error() for receipt in receipts] == [None] * 600


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_cancelled_close_of_a_connection_gives_back_what_it_holds(url: str, step: int) -> None:
    async with unimsg.connect(url) as other, other.producer(QUEUE) as producer:
        connection = await unimsg.connect(url)
        holder = await connection.consumer(QUEUE, mode="individual")
        await producer.send("x")
        await holder.receive()
        await cancelled_at(step, connection.close)
        if not step:
            await connection.close()
        async with other.consumer(QUEUE) as consumer:
            message = await consumer.receive(timeout=5)
        assert message is not None
        assert message.redelivered


async def test_a_request_may_be_cancelled_at_any_time(connection: Connection) -> None:
    async with connection.consumer(QUEUE) as consumer:

        async def answer() -> None:
            async for request in consumer:
                if request.body == "last":
                    await connection.reply(request, "answer")
                    return

        answering = asyncio.create_task(answer())
        for step in range(STEPS):
            await cancelled_at(step, lambda: connection.request(QUEUE, "never answered"))
        assert (await connection.request(QUEUE, "last", timeout=10)).body == "answer"
        await answering
