"""The whole path of a message in one process, by memory://: how many a second, and how long one takes.

Everything is counted: judging the arguments, encoding, the broker, decoding, and reading the body and every property.
Producer and consumer run as two tasks of one event loop, as they would in a program that has both. The time on the CPU is
told beside the time on the clock, since it does not depend on what else the machine does.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import unimsg
from tests.benchmarks.report import show
from unimsg import Queue
from unimsg.values import Int

TICK: dict[str, Any] = {
    "symbol": "VOD.L",
    "venue": "LSE",
    "price": Decimal("101.2500"),
    "size": Int(300),
    "bid": Decimal("101.20"),
    "ask": Decimal("101.30"),
    "sequence": 1_234_567_890,
    "mid": 101.25,
    "time": datetime(2026, 11, 22, 14, 10, 0, 123456, tzinfo=UTC),
    "open": True,
}
COUNT = 20_000
RUNS = 5


async def _through(url: str, properties: Mapping[str, Any] | None, mode: Any, count: int) -> tuple[float, float]:
    """Return seconds, and seconds of this process on a CPU, from the first `submit` to the last acknowledgement."""
    queue = Queue("bench")
    options: dict[str, Any] = {} if properties is None else {"properties": properties}
    async with unimsg.connect(url) as connection:

        async def consume() -> None:
            left = count
            async with connection.consumer(queue, mode=mode) as consumer:
                ready.set()
                async for message in consumer:
                    assert message.body[:5] == "hello"
                    if properties is not None:
                        assert len(dict(message.properties)) == len(properties)
                    if mode == "individual":
                        await message.acknowledge()
                    left -= 1
                    if not left:
                        return

        ready = asyncio.Event()
        consuming = asyncio.create_task(consume())
        await ready.wait()
        start, used = time.perf_counter(), time.process_time()
        async with connection.producer(queue) as producer:
            for number in range(count):
                await producer.submit(f"hello {number}", **options)
        await consuming
        return time.perf_counter() - start, time.process_time() - used


def _median_rate(properties: Mapping[str, Any] | None, mode: str) -> dict[str, float]:
    runs = [asyncio.run(_through(f"memory://{uuid.uuid4().hex}", properties, mode, COUNT)) for _ in range(RUNS + 1)][1:]
    rates = [COUNT / elapsed for elapsed, _ in runs]
    used = statistics.median(used for _, used in runs) / COUNT
    return {"messages/s, median": statistics.median(rates), "best": max(rates), "CPU µs a message": used * 1e6, "messages/s of CPU": 1 / used}


def _percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=1000, method="inclusive")
    return {"p50, µs": cuts[499] * 1e6, "p90, µs": cuts[899] * 1e6, "p99, µs": cuts[989] * 1e6, "p99.9, µs": cuts[998] * 1e6}


async def _one_way(put: Callable[[float], Awaitable[object]], get: Callable[[], Awaitable[float]], count: int) -> list[float]:
    """Return the seconds from before each `put` until another task has what it put; one under way at a time."""
    taken = asyncio.Event()
    found: list[float] = []

    async def take() -> None:
        for _ in range(count):
            sent = await get()
            found.append(time.perf_counter() - sent)
            taken.set()

    taking = asyncio.create_task(take())
    for _ in range(count):
        taken.clear()
        await put(time.perf_counter())
        await taken.wait()
    await taking
    return found[count // 10 :]


async def _latencies(count: int) -> dict[str, dict[str, float]]:
    plain: asyncio.Queue[float] = asyncio.Queue()
    bare = await _one_way(plain.put, plain.get, count)
    url = f"memory://{uuid.uuid4().hex}"
    queue = Queue("latency")
    async with unimsg.connect(url) as one, unimsg.connect(url) as other:
        async with one.producer(queue) as producer, other.consumer(queue) as consumer:

            async def get() -> float:
                return float((await consumer.receive()).body)

            ours = await _one_way(lambda now: producer.send(repr(now)), get, count)

        async def answer() -> None:
            async with other.consumer(Queue("ask")) as asked:
                ready.set()
                async for question in asked:
                    await other.reply(question, question.body)

        ready = asyncio.Event()
        answering = asyncio.create_task(answer())
        await ready.wait()
        both = []
        for _ in range(count):
            start = time.perf_counter()
            await one.request(Queue("ask"), "x", timeout=10)
            both.append(time.perf_counter() - start)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    return {
        "asyncio.Queue, for comparison: put to get in another task": _percentiles(bare),
        "memory://: send to receive in another task": _percentiles(ours),
        "memory://: request to reply, there and back": _percentiles(both[count // 10 :]),
    }


def run() -> dict[str, object]:
    """Measure rates and latencies."""
    result: dict[str, object] = {
        "a small text, AUTO": _median_rate(None, "auto"),
        "a small text, DUPS_OK": _median_rate(None, "dups_ok"),
        "a small text, INDIVIDUAL": _median_rate(None, "individual"),
        "a tick of 10 typed properties, AUTO": _median_rate(TICK, "auto"),
        "a tick of 10 typed properties, DUPS_OK": _median_rate(TICK, "dups_ok"),
    }
    result.update(asyncio.run(_latencies(5000)))
    return result


if __name__ == "__main__":
    show("messaging", run())
