"""Leases as an application meets them: a loop that is blocked loses what it was lent, and is told."""

import asyncio
import threading

import unimsg
from tests.urls import also
from unimsg import Queue

QUEUE = Queue("q")


async def take(url: str, found: list[tuple[object, int]]) -> None:
    async with unimsg.connect(url) as connection, connection.consumer(QUEUE) as consumer:
        message = await consumer.receive(timeout=30)
        if message is not None:
            found.append((message.body, message.delivery_count))


async def test_a_blocked_loop_loses_its_message_to_another_and_its_acknowledgement_is_stale(url: str) -> None:
    url = also(url, "lease=0.5")
    async with unimsg.connect(url) as connection, connection.consumer(QUEUE, mode="individual") as consumer:
        async with connection.producer(QUEUE) as producer:
            await producer.send("x")
        message = await consumer.receive()
        found: list[tuple[object, int]] = []
        other = threading.Thread(target=lambda: asyncio.run(take(url, found)))
        other.start()
        other.join(40)  # this loop is blocked, and its heart with it, until the other one has the message

        assert found == [("x", 2)]
        await message.acknowledge()
        assert connection.health().stale == 1


async def test_a_loop_that_awaits_keeps_its_message_longer_than_the_lease(url: str) -> None:
    url = also(url, "lease=0.3")
    async with unimsg.connect(url) as connection, connection.consumer(QUEUE, mode="individual") as consumer:
        async with connection.producer(QUEUE) as producer:
            await producer.send("x")
        message = await consumer.receive()
        async with unimsg.connect(url) as other, other.consumer(QUEUE) as rival:
            assert await rival.receive(timeout=1.0) is None  # three leases long, renewed by this loop
        await message.acknowledge()
        assert connection.health().stale == 0
