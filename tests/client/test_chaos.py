"""Everything at once, and cancelled at random: nothing that was confirmed is lost, and a commit moves each message once.

What is random comes from one seed, which is printed; the interleaving is the event loop's.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest

import unimsg
from unimsg import Connection, Queue

WORK, MOVED = Queue("work"), Queue("moved")
COUNT = 400


class Chaos:
    """Publishers and workers that are cancelled at any await, and what must be true of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.confirmed: set[int] = set()
        self.shown: set[int] = set()
        self.published = asyncio.Event()

    async def pause(self) -> None:
        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(0)

    async def publish(self, connection: Connection, first: int) -> None:
        async with connection.producer(WORK) as producer:
            for number in range(first, COUNT, 2):
                while number not in self.confirmed:
                    sending = asyncio.create_task(producer.send(number, message_id=f"ID:chaos-{number}"))
                    if self.random.random() < 0.2:
                        await self.pause()
                        sending.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await sending
                        self.confirmed.add(number)

    async def individual(self, connection: Connection) -> None:
        async with connection.consumer(WORK, mode="individual", prefetch=self.random.choice([1, 5, 50])) as consumer:
            while (message := await consumer.receive(timeout=0.1)) is not None:
                await self.pause()
                what = self.random.random()
                if what < 0.1:
                    await message.release()
                elif what < 0.15:
                    await message.reject("chaos")
                else:
                    self.shown.add(message.body)  # before: a cancelled acknowledgement may have been carried out
                    await message.acknowledge()

    async def client(self, connection: Connection) -> None:
        async with connection.session("client") as session, session.consumer(WORK, prefetch=20) as consumer:
            held: set[int] = set()
            while (message := await consumer.receive(timeout=0.1)) is not None:
                held.add(message.body)
                what = self.random.random()
                if what < 0.1:
                    held.clear()
                    await session.recover()
                elif what < 0.4:
                    self.shown |= held
                    await message.acknowledge()

    async def transacted(self, connection: Connection) -> None:
        async with connection.session("transacted") as session, session.consumer(WORK, prefetch=10) as consumer, session.producer(MOVED) as producer:
            while (message := await consumer.receive(timeout=0.1)) is not None:
                await producer.send(message.body)
                what = self.random.random()
                if what < 0.2:
                    await session.rollback()
                elif what < 0.8:
                    await session.commit()

    async def loop(self, connection: Connection) -> None:
        async with connection.consumer(WORK) as consumer:
            async for message in consumer:
                await self.pause()
                self.shown.add(message.body)

    async def again_and_again(self, work: Callable[[Connection], Awaitable[None]], connection: Connection) -> None:
        while not self.published.is_set():
            task = asyncio.ensure_future(work(connection))
            await asyncio.wait((task,), timeout=self.random.random() * 0.4)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def rest(connection: Connection, queue: Queue) -> list[int]:
    """Return what is left on a queue, up to a message that marks the end."""
    async with connection.producer(queue) as producer, connection.consumer(queue, mode="dups_ok") as consumer:
        await producer.send(-1, priority=0)
        found = []
        while (body := (await consumer.receive()).body) != -1:
            found.append(body)
    return found


@pytest.mark.timeout(60)
async def test_nothing_is_lost_and_nothing_is_moved_twice(url: str) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    chaos = Chaos(seed)
    async with unimsg.connect(url) as one, unimsg.connect(url) as other:
        works = (chaos.individual, chaos.client, chaos.transacted, chaos.loop)
        workers = [asyncio.create_task(chaos.again_and_again(work, connection)) for connection in (one, other) for work in works]
        await asyncio.gather(chaos.publish(one, 0), chaos.publish(other, 1))
        chaos.published.set()
        await asyncio.gather(*workers)
        left, moved, dead = [await rest(one, queue) for queue in (WORK, MOVED, Queue("dead.work"))]
        idle = [connection.health() for connection in (one, other)]

    assert chaos.confirmed == set(range(COUNT))
    assert chaos.confirmed - chaos.shown - set(left) - set(moved) - set(dead) == set()
    for queue in (left, moved, dead):
        assert len(queue) == len(set(queue))
    assert not set(left) & set(moved)
    assert [(health.in_hand, health.consumers, health.producers) for health in idle] == [(0, 0, 0), (0, 0, 0)]
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("unimsg")] == []
