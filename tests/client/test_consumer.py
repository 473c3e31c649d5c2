"""Consumers: time-outs, loops, modes, cancellation, and what closing gives back."""

import asyncio
import time

import pytest

import unimsg
from unimsg import Connection, Queue, Topic

from .counting import counted

QUEUE = Queue("q")


async def fill(connection: Connection, *bodies: object) -> None:
    async with connection.producer(QUEUE) as producer:
        for body in bodies:
            await producer.send(body)


async def rest(connection: Connection) -> list[tuple[object, int]]:
    """Return what is left on the queue, up to a message that marks the end."""
    await fill(connection, "end")
    found = []
    async with connection.consumer(QUEUE) as consumer:
        while (message := await consumer.receive()).body != "end":
            found.append((message.body, counted(connection, message.delivery_count)))
    return found


async def test_receive_with_a_time_out_returns_none(connection: Connection) -> None:
    async with connection.consumer(QUEUE) as consumer:
        assert await consumer.receive(timeout=0) is None
        start = time.monotonic()
        assert await consumer.receive(timeout=0.2) is None
        assert time.monotonic() - start >= 0.2


async def test_a_poll_finds_what_is_there(connection: Connection) -> None:
    await fill(connection, "there")
    async with connection.consumer(QUEUE) as consumer:
        message = await consumer.receive(timeout=0)
        assert message is not None
        assert message.body == "there"


async def test_receive_waits_for_what_comes_later(connection: Connection) -> None:
    async with connection.consumer(QUEUE) as consumer:
        waiting = asyncio.create_task(consumer.receive())
        await fill(connection, "later")
        assert (await waiting).body == "later"


async def test_a_cancelled_receive_loses_nothing(connection: Connection) -> None:
    async with connection.consumer(QUEUE) as consumer, connection.producer(QUEUE) as producer:
        got = []
        for number in range(200):
            waiting = asyncio.create_task(consumer.receive(timeout=5))
            if number % 3:
                await asyncio.sleep(0)
            await producer.send(number)
            waiting.cancel()
            try:
                message = await waiting
            except asyncio.CancelledError:
                message = None
            if message is not None:
                got.append(message.body)
        while (message := await consumer.receive(timeout=0)) is not None:
            got.append(message.body)

    assert got == list(range(200))


async def test_many_tasks_may_receive_from_one_consumer(connection: Connection) -> None:
    async with connection.consumer(QUEUE) as consumer:
        tasks = [asyncio.create_task(consumer.receive()) for _ in range(20)]
        await fill(connection, *range(20))
        got = [message.body for message in await asyncio.gather(*tasks)]

    assert sorted(got) == list(range(20))


async def test_closing_ends_a_waiting_receive_and_a_loop(connection: Connection) -> None:
    consumer = await connection.consumer(QUEUE)
    waiting = asyncio.create_task(consumer.receive())
    await asyncio.sleep(0.01)
    await consumer.close()
    with pytest.raises(unimsg.ClosedError):
        await waiting
    with pytest.raises(unimsg.ClosedError):
        await consumer.receive()

    consumer = await connection.consumer(QUEUE)

    async def loop() -> str:
        async for _ in consumer:
            pass
        return "ended"

    looping = asyncio.create_task(loop())
    await asyncio.sleep(0.01)
    await consumer.close()
    assert await looping == "ended"


async def test_auto_acknowledges_as_receive_returns(connection: Connection) -> None:
    await fill(connection, 1, 2, 3)
    async with connection.consumer(QUEUE) as consumer:
        assert (await consumer.receive()).body == 1
    assert await rest(connection) == [(2, 1), (3, 1)]


async def test_a_loop_that_is_left_normally_acknowledges_its_message(connection: Connection) -> None:
    await fill(connection, 1, 2, 3)
    async with connection.consumer(QUEUE) as consumer:
        async for message in consumer:
            if message.body == 2:
                break
    assert [number for number, _ in await rest(connection)] == [3]


async def test_a_loop_that_fails_gives_its_message_back(connection: Connection) -> None:
    await fill(connection, 1, 2, 3)
    with pytest.raises(ValueError, match="two"):
        async with connection.consumer(QUEUE) as consumer:
            async for message in consumer:
                if message.body == 2:
                    raise ValueError("two")
    assert await rest(connection) == [(2, 2), (3, 1)]


async def test_a_new_loop_gives_back_the_message_of_one_that_was_left_by_an_error(connection: Connection) -> None:
    await fill(connection, 1)
    async with connection.consumer(QUEUE) as consumer:
        with pytest.raises(ValueError, match="first"):
            async for _ in consumer:
                raise ValueError("first")
        async for message in consumer:
            assert (message.body, message.redelivered) == (1, True)
            break
    assert await rest(connection) == []


async def test_receive_gives_back_the_message_of_a_loop_that_was_left_by_an_error(connection: Connection) -> None:
    await fill(connection, 1)
    async with connection.consumer(QUEUE) as consumer:
        with pytest.raises(ValueError, match="first"):
            async for _ in consumer:
                raise ValueError("first")
        message = await consumer.receive()
        assert (message.body, message.delivery_count) == (1, 2)


async def test_individual_messages_are_acknowledged_released_and_held(connection: Connection) -> None:
    await fill(connection, 1, 2, 3)
    async with connection.consumer(QUEUE, mode="individual") as consumer:
        one, two, _three = [await consumer.receive() for _ in range(3)]
        await two.acknowledge()
        await two.acknowledge()
        await one.release()
        again = await consumer.receive()
        assert (again.body, again.delivery_count) == (1, 2)
        await again.acknowledge()
        assert consumer.in_hand == 1
    assert await rest(connection) == [(3, 2)]


async def test_async_with_a_message_acknowledges_or_releases(connection: Connection) -> None:
    await fill(connection, 1)
    async with connection.consumer(QUEUE, mode="individual") as consumer:
        with pytest.raises(ValueError, match="handler"):
            async with await consumer.receive():
                raise ValueError("handler")
        async with await consumer.receive() as message:
            assert message.redelivered
    assert await rest(connection) == []


@pytest.mark.parametrize("mode", ["auto", "client", "dups_ok"])
async def test_release_and_reject_belong_to_individual_mode(connection: Connection, mode: str) -> None:
    await fill(connection, 1)
    async with connection.consumer(QUEUE, mode=mode) as consumer:
        message = await consumer.receive()
        with pytest.raises(unimsg.IllegalStateError, match="individual"):
            await message.release()
        with pytest.raises(unimsg.IllegalStateError, match="individual"):
            await message.reject("no")
        await message.acknowledge()


async def test_dups_ok_acknowledges_by_the_end(connection: Connection) -> None:
    await fill(connection, *range(250))
    async with connection.consumer(QUEUE, mode="dups_ok") as consumer:
        assert [(await consumer.receive()).body for _ in range(249)] == list(range(249))
    assert await rest(connection) == [(249, 1)]


async def test_what_was_read_ahead_goes_back_unseen(connection: Connection) -> None:
    await fill(connection, *range(10))
    async with connection.consumer(QUEUE, prefetch=10) as consumer:
        await consumer.receive()
    left = await rest(connection)
    assert [number for number, _ in left] == list(range(1, 10))
    if connection.capabilities.supports("direct"):
        return  # what was on its way to us when we closed may have been counted: the contract says "where the broker allows"
    assert {count for _, count in left} == {1}


async def test_release_with_a_delay_is_never_early(connection: Connection) -> None:
    await fill(connection, "x")
    async with connection.consumer(QUEUE, mode="individual") as consumer:
        start = time.time()
        await (await consumer.receive()).release(delay=0.3)
        again = await consumer.receive()
        assert time.time() - start >= 0.3
        assert again.delivery_count == 2
        await again.acknowledge()


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "sometimes"},
        {"prefetch": 0},
        {"overflow": "explode"},
        {"backlog": 0},
        {"durable": True},
        {"shared": True},
        {"subscription": "s"},
        {"shared": True, "subscription": "s", "no_local": True},
    ],
)
async def test_bad_arguments_are_value_errors(memory_url: str, arguments: dict[str, object]) -> None:
    async with unimsg.connect(memory_url) as connection:
        with pytest.raises(ValueError):
            await connection.consumer(Topic("t"), **arguments)  # type: ignore[arg-type]
        with pytest.raises(unimsg.IllegalStateError, match="client id"):
            await connection.consumer(Topic("t"), subscription="s", durable=True)
        with pytest.raises(unimsg.IllegalStateError, match="session"):
            await connection.consumer(Queue("q"), mode="transacted")


async def test_an_unknown_option_is_a_type_error_that_lists_the_others(memory_url: str) -> None:
    async with unimsg.connect(memory_url) as connection:
        with pytest.raises(TypeError, match=r"selektor.*selector"):
            await connection.consumer(QUEUE, selektor="a = 1")  # type: ignore[call-arg]


async def test_a_lazy_live_subscriber_that_drops_counts_what_it_dropped(connection: Connection) -> None:
    topic = Topic("ticks")
    async with connection.consumer(topic, overflow="drop", backlog=10, prefetch=1) as slow, connection.producer(topic) as producer:
        for number in range(100):
            await producer.send(number)
        got = []
        while (message := await slow.receive(timeout=0)) is not None:
            got.append(message.body)
        # Where messages travel ahead of `receive`, the first is here already when the others overflow.
        assert got[-1] == 99
        assert got == sorted(got)
        assert len(got) <= 10
        assert slow.dropped == 100 - len(got)
        assert connection.health().dropped == 100 - len(got)


async def test_a_live_subscriber_that_fails_is_told(connection: Connection) -> None:
    topic = Topic("ticks")
    async with connection.consumer(topic, overflow="fail", backlog=10) as slow, connection.consumer(topic) as good, connection.producer(topic) as producer:
        for number in range(12):
            await producer.send(number)
        with pytest.raises(unimsg.SlowConsumerError):
            for _ in range(12):
                await slow.receive(timeout=5)
        assert [(await good.receive()).body for _ in range(12)] == list(range(12))


async def test_a_live_subscriber_that_blocks_holds_its_publisher(connection: Connection) -> None:
    topic = Topic("ticks")
    async with connection.consumer(topic, overflow="block", backlog=5, prefetch=1) as slow, connection.producer(topic) as producer:

        async def publish() -> None:
            for number in range(50):
                await producer.send(number)

        publishing = asyncio.create_task(publish())
        async with connection.producer(Queue("elsewhere")) as free, connection.consumer(Queue("elsewhere")) as other:
            await free.send("not held up")
            assert (await other.receive()).body == "not held up"
        assert not publishing.done()
        assert [(await slow.receive()).body for _ in range(50)] == list(range(50))
        await publishing
