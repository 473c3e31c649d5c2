"""What the child processes of the demo do: one publishes, the others listen; each tells its parent in JSON lines.

A subscriber reports what it has received before it acknowledges it. So a report that was written counts, and what was
not reported was not acknowledged either: after a kill the broker delivers it again.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import unimsg
from unimsg import Topic, wire
from unimsg.cli.demo.excerpt import check_of, fields_of, ticks
from unimsg.cli.demo.roles import ROLES
from unimsg.cli.feed import chunks
from unimsg.client.opening import Opening

__all__ = ["publish", "subscribe"]

BATCH = 500
"""Messages that are acknowledged together, at most; fewer where fewer are waiting."""
REPORT = 100
"""Messages in one report: its line stays below 4096 bytes, so that a pipe takes it whole or not at all."""
PATIENCE = 30.0
"""Seconds for which the broker may take a killed process to be alive, and refuse its successor."""


def _tell(**report: Any) -> None:
    sys.stdout.write(json.dumps(report, separators=(",", ":")) + "\n")
    sys.stdout.flush()


async def publish(url: str, run: str, rate: float, most: int | None) -> None:
    """Publish the file's ticks, `rate` a second (0: as fast as it goes), and report how many are confirmed."""
    topics: dict[str, Topic[Any]] = {}
    async with unimsg.connect(url) as connection, _anywhere(connection, run) as producer:
        start = told = time.perf_counter()
        submitted = 0
        for tick in ticks(most):
            if rate and (ahead := start + submitted / rate - time.perf_counter()) > 0.005:
                await asyncio.sleep(ahead)
            topic = topics.get(tick.topic) or topics.setdefault(tick.topic, Topic(tick.topic))
            _ = await producer.submit(fields_of(tick), to=topic, properties=tick.properties)
            submitted += 1
            if (now := time.perf_counter()) - told > 0.1:
                told = now
                _tell(sent=submitted - producer.unconfirmed)
        await producer.flush()
        _tell(sent=submitted, seconds=time.perf_counter() - start)


def _anywhere(connection: unimsg.Connection, run: str) -> Opening[unimsg.Producer[Any]]:
    return connection.producer(type="tick", correlation_id=run)


async def subscribe(url: str, run: str, name: str) -> None:
    """Listen as one of the roles until the standard input ends and nothing is left."""
    role = next(role for role in ROLES if role.name == name)
    subscription: dict[str, Any] = {"subscription": f"demo-{run}", "durable": True} if role.durable else {}
    connection = await _connect(url, f"demo-{run}" if role.durable else None)
    stopping = asyncio.create_task(_end_of_input())
    async with connection, connection.consumer(Topic(role.pattern), mode="client", selector=role.selector, prefetch=BATCH * 2, **subscription) as consumer:
        _tell(ready=True)
        shown = False
        while True:
            stopped = stopping.done()  # asked first: what is empty after that stays empty
            message = await consumer.receive(timeout=0 if stopped else 0.1)
            if message is None:
                if stopped:
                    break
                continue
            batch: list[unimsg.ReceivedMessage[Any]] = [message]
            while len(batch) < BATCH and (more := await consumer.receive(timeout=0)) is not None:
                batch.append(more)
            now = time.time()
            seen = [
                (found.properties["number"], _microseconds(now, found), check_of(found.body.to_dict()), found.delivery_count)
                for found in batch
                if found.correlation_id == run
            ]
            for start in range(0, len(seen), REPORT):
                _tell(seen=seen[start : start + REPORT])
            if seen and not shown:
                shown = True
                _tell(stanza=wire.encode(message).decode())
            await batch[-1].acknowledge()
    await stopping


def _microseconds(now: float, message: unimsg.Message[Any]) -> int:
    return 0 if message.timestamp is None else round((now - message.timestamp.timestamp()) * 1e6)


async def _connect(url: str, client_id: str | None) -> unimsg.Connection:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await unimsg.connect(url, client_id=client_id)
        except unimsg.InvalidClientIDError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)  # our predecessor was killed, and the broker has not seen it yet


async def _end_of_input() -> None:
    async for _ in chunks():
        pass
