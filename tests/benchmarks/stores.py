"""Durable queues on one SQLite file: unimsg beside persist-queue (SQLiteAckQueue) and litequeue, in one run.

Each publishes a number of small texts to an empty file, and then consumes and acknowledges them all, in one process.
Each is used as its own documentation says is fast: unimsg by `submit` (confirmed by `flush`), litequeue with a hundred
`put` or `done` to a transaction; persist-queue's acknowledging queue has no batches. `synchronous` is what SQLite itself
answers: FULL has every commit on the disk before it returns (WAL mode), NORMAL may lose the last commits when the
machine, not the process, dies. So only rows of one level compare. unimsg writes and reads whole stanzas with headers,
the others the bare text.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import unimsg
from tests.benchmarks.report import show
from unimsg import Queue

RUNS = 3
COUNT = 10_000
OTHERS = 2_000
"""Fewer, for those who slow down with what is waiting: it is in their favour."""
BATCH = 100

Timing = tuple[float, float]
"""Messages a second: published, and consumed and acknowledged."""


def _body(number: int) -> str:
    return f"hello {number}"


async def _publish(url: str, count: int) -> float:
    async with unimsg.connect(url) as connection:
        start = time.perf_counter()
        async with connection.producer(Queue("bench")) as producer:
            for number in range(count):
                await producer.submit(_body(number))
            await producer.flush()
            return count / (time.perf_counter() - start)


async def _consume(url: str, count: int, mode: Any) -> float:
    async with unimsg.connect(url) as connection:
        start = time.perf_counter()
        async with connection.consumer(Queue("bench"), mode=mode) as consumer:
            number = 0
            async for message in consumer:
                assert message.body == _body(number)
                number += 1
                if mode == "individual" or (mode == "client" and number % BATCH == 0):
                    await message.acknowledge()
                if number == count:
                    break
        rate = count / (time.perf_counter() - start)
        async with connection.consumer(Queue("bench")) as consumer:
            assert await consumer.receive(timeout=0) is None
        return rate


def _unimsg(mode: str, options: str = "") -> Callable[[Path, int], Timing]:
    def measure(folder: Path, count: int) -> Timing:
        url = f"sqlite:///{folder / 'unimsg.db'}{options}"
        return asyncio.run(_publish(url, count)), asyncio.run(_consume(url, count, mode))

    return measure


def _persist_queue(level: int) -> Callable[[Path, int], Timing]:
    def measure(folder: Path, count: int) -> Timing:
        from persistqueue import SQLiteAckQueue  # type: ignore[import-not-found,unused-ignore]

        queue = SQLiteAckQueue(str(folder), auto_commit=True)
        queue._conn.execute(f"PRAGMA synchronous={level}")
        assert queue._conn.execute("PRAGMA synchronous").fetchone()[0] == level
        start = time.perf_counter()
        for number in range(count):
            queue.put(_body(number))
        published = time.perf_counter()
        for number in range(count):
            item = queue.get(raw=True)
            assert item["data"] == _body(number)
            queue.ack(id=item["pqid"])
        consumed = time.perf_counter()
        assert queue.size == 0
        queue.close()
        return count / (published - start), count / (consumed - published)

    return measure


def _litequeue(level: int, batch: int) -> Callable[[Path, int], Timing]:
    def measure(folder: Path, count: int) -> Timing:
        from litequeue import LiteQueue  # type: ignore[import-untyped,import-not-found,unused-ignore]

        queue = LiteQueue(folder / "lite.db")
        queue.conn.execute(f"PRAGMA synchronous={level}")
        assert queue.conn.execute("PRAGMA synchronous").fetchone()[0] == level
        start = time.perf_counter()
        for first in range(0, count, batch):
            if batch == 1:
                queue.put(_body(first))
                continue
            with queue.transaction():
                for number in range(first, first + batch):
                    queue.put(_body(number))
        published = time.perf_counter()
        for first in range(0, count, batch):
            taken = [queue.pop() for _ in range(batch)]  # each pop is a transaction of its own: it cannot be batched
            assert [item.data for item in taken] == [_body(number) for number in range(first, first + batch)]
            if batch == 1:
                queue.done(taken[0].message_id)
                continue
            with queue.transaction():
                for item in taken:
                    queue.done(item.message_id)
        consumed = time.perf_counter()
        assert queue.empty()
        queue.close()
        return count / (published - start), count / (consumed - published)

    return measure


def _disk(folder: Path) -> float:
    """Return how many times a second this disk takes 4 KiB and says that it has them: the ceiling of unbatched commits."""
    with (folder / "probe").open("wb", buffering=0) as file:
        start = time.perf_counter()
        number = 0
        while time.perf_counter() - start < 0.5:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            number += 1
        return number / (time.perf_counter() - start)


ENTRIES: list[tuple[str, str, int, Callable[[Path, int], Timing]]] = [
    ("unimsg, submit; CLIENT, 100 to an acknowledge", "FULL", COUNT, _unimsg("client")),
    ("unimsg, submit; DUPS_OK", "FULL", COUNT, _unimsg("dups_ok")),
    ("unimsg, submit; AUTO", "FULL", OTHERS, _unimsg("auto")),
    ("unimsg, submit; INDIVIDUAL, each awaited", "FULL", OTHERS, _unimsg("individual")),
    ("litequeue, 100 to a transaction", "FULL", OTHERS, _litequeue(2, BATCH)),
    ("litequeue, one by one", "FULL", OTHERS, _litequeue(2, 1)),
    ("persist-queue SQLiteAckQueue (as it comes)", "FULL", OTHERS, _persist_queue(2)),
    ("unimsg, submit; CLIENT, 100 to an acknowledge, ?sync=normal", "NORMAL", COUNT, _unimsg("client", "?sync=normal")),
    ("litequeue, 100 to a transaction (as it comes)", "NORMAL", OTHERS, _litequeue(1, BATCH)),
    ("litequeue, one by one (as it comes)", "NORMAL", OTHERS, _litequeue(1, 1)),
    ("persist-queue SQLiteAckQueue", "NORMAL", OTHERS, _persist_queue(1)),
]


def run() -> dict[str, object]:
    """Measure all, taking turns, each on a new file; ratios are to the first unimsg row of the same level."""
    found: dict[str, list[Timing]] = {name: [] for name, *_ in ENTRIES}
    disk: list[float] = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="unimsg-bench-") as name:
            disk.append(_disk(Path(name)))
        for name, _, count, measure in ENTRIES:
            with tempfile.TemporaryDirectory(prefix="unimsg-bench-") as folder:
                found[name].append(measure(Path(folder), count))
    result: dict[str, object] = {"writes of 4 KiB with fsync, a second": statistics.median(disk)}
    best: dict[str, Timing] = {}
    for name, level, count, _ in ENTRIES:
        published = statistics.median(timing[0] for timing in found[name])
        consumed = statistics.median(timing[1] for timing in found[name])
        ours = best.setdefault(level, (published, consumed))
        result[name] = {
            "synchronous": level,
            "messages": count,
            "published/s": published,
            "unimsg ÷ it, published": ours[0] / published,
            "consumed and acknowledged/s": consumed,
            "unimsg ÷ it, consumed": ours[1] / consumed,
        }
    return result


if __name__ == "__main__":
    show("stores", run())
