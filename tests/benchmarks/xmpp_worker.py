"""One process of the XMPP measurements: it prints one JSON line of what it has measured."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any
from xml.etree import ElementTree as ET

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import unimsg
from tests.benchmarks.messaging import TICK
from unimsg.destination import parse_destination
from unimsg.registry import URL

FIELDS: dict[str, Any] = {**TICK, "condition": "R", "number": 1}
"""Twelve fields of a market tick."""
NS = "urn:example:tick"


def tell(**what: float) -> None:
    print(json.dumps(what), flush=True)


async def publish(url: str, place: str, count: int) -> None:
    destination: Any = parse_destination(place)
    async with unimsg.connect(url) as connection, connection.producer(destination) as producer:
        for number in range(count):
            await producer.submit("tick", properties={**FIELDS, "number": number})
        await producer.flush()


async def take(url: str, place: str, count: int, mode: str, subscribers: int = 1) -> None:
    destination: Any = parse_destination(place)

    async def one(connection: unimsg.Connection) -> tuple[float, float]:
        async with connection.consumer(destination, mode=mode, prefetch=500) as consumer:
            ready.release()
            begun = 0.0
            for number in range(count):
                message = await consumer.receive()
                begun = begun or time.perf_counter()
                assert len(dict(message.properties)) == len(FIELDS)
                if mode == "client" and (number + 1) % 100 == 0:
                    await message.acknowledge()
            return begun, time.perf_counter()

    ready = asyncio.Semaphore(0)
    connections = [await unimsg.connect(url) for _ in range(subscribers)]
    tasks = [asyncio.create_task(one(connection)) for connection in connections]
    for _ in tasks:
        acquired = asyncio.create_task(ready.acquire())
        await asyncio.wait((acquired, *tasks), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    print("ready", flush=True)
    times = await asyncio.gather(*tasks)
    tell(rate=count * subscribers / (max(end for _, end in times) - min(begun for begun, _ in times)))
    for connection in connections:
        await connection.close()


class Plain(slixmpp.ClientXMPP):
    """What people write with slixmpp: stanza objects, handlers."""

    def __init__(self, url: str) -> None:
        found = URL(url)
        super().__init__(f"{found.user}@{found.host}{found.path}", found.password or "")
        self.enable_plaintext, self.enable_starttls, self.enable_direct_tls = True, False, False
        self.plugin["feature_mechanisms"].unencrypted_scram = True
        self.where = found.options["host"], int(found.options["port"])
        self.ready = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.ready.set())

    async def up(self) -> None:
        self.connect(*self.where)
        await self.ready.wait()
        self.send_presence()

    def tick(self, to: str, number: int) -> Any:
        message: Any = self.make_message(mto=to, mbody="tick", mtype="chat")
        tick = ET.SubElement(message.xml, f"{{{NS}}}tick")
        for name, value in {**FIELDS, "number": number}.items():
            ET.SubElement(tick, f"{{{NS}}}field", {"name": name}).text = str(value)
        return message


async def plain_publish(url: str, to: str, count: int) -> None:
    client = Plain(url)
    await client.up()
    for number in range(count):
        client.tick(to, number).send()
        if number % 200 == 0:
            while client.waiting_queue.qsize() > 1000 or (client.transport and client.transport.get_write_buffer_size() > 1_000_000):  # noqa: ASYNC110
                await asyncio.sleep(0)  # slixmpp has no back-pressure
    await client.disconnect()


async def plain_take(url: str, count: int) -> None:
    client = Plain(url)
    done, seen = asyncio.Event(), list[float]()

    def handle(message: Any) -> None:
        fields = {field.get("name"): field.text for field in message.xml.iter(f"{{{NS}}}field")}
        assert len(fields) == len(FIELDS)
        seen.append(time.perf_counter())
        if len(seen) == count:
            done.set()

    client.register_handler(Callback("tick", MatchXPath(f"{{jabber:client}}message/{{{NS}}}tick"), handle))
    await client.up()
    print("ready", flush=True)
    await done.wait()
    tell(rate=count / (seen[-1] - seen[0]))
    await client.disconnect()


async def latency(url: str, place: str, count: int) -> None:
    """Send one, wait until it is received, and again; both ends in this process."""
    destination: Any = parse_destination(place)
    times = []
    async with unimsg.connect(url) as one, unimsg.connect(url.replace("/near?", "/far?")) as two:
        async with two.consumer(destination, mode="dups_ok") as consumer, one.producer(destination) as producer:
            for number in range(count):
                start = time.perf_counter()
                receipt = await producer.submit("tick", properties={**FIELDS, "number": number})
                await consumer.receive()
                times.append(time.perf_counter() - start)
                await receipt
    tell(p50=statistics.median(times) * 1000, p99=statistics.quantiles(times, n=100)[98] * 1000)


async def plain_latency(url: str, count: int) -> None:
    near, far = Plain(url), Plain(url.replace("/near?", "/far?"))
    arrived: asyncio.Queue[None] = asyncio.Queue()
    far.register_handler(Callback("tick", MatchXPath(f"{{jabber:client}}message/{{{NS}}}tick"), lambda _: arrived.put_nowait(None)))
    await near.up()
    await far.up()
    times = []
    for number in range(count):
        start = time.perf_counter()
        near.tick(far.boundjid.full, number).send()
        await arrived.get()
        times.append(time.perf_counter() - start)
    tell(p50=statistics.median(times) * 1000, p99=statistics.quantiles(times, n=100)[98] * 1000)
    await near.disconnect()
    await far.disconnect()


async def main() -> None:
    role, url, *rest = sys.argv[1:]
    if role == "publish":
        await publish(url, rest[0], int(rest[1]))
    elif role == "take":
        await take(url, rest[0], int(rest[1]), rest[2], int(rest[3]))
    elif role == "plain-publish":
        await plain_publish(url, rest[0], int(rest[1]))
    elif role == "plain-take":
        await plain_take(url, int(rest[0]))
    elif role == "latency":
        await latency(url, rest[0], int(rest[1]))
    elif role == "plain-latency":
        await plain_latency(url, int(rest[0]))


if __name__ == "__main__":
    asyncio.run(main())
