"""One process of the XMPP proof: publish numbers, or take them and write down each one before it is acknowledged."""

from __future__ import annotations

import asyncio
import os
import sys

import unimsg
from unimsg import Queue

QUEUE = Queue("proof")


async def publish(url: str, count: int) -> None:
    async with unimsg.connect(url) as connection, connection.producer(QUEUE) as producer:
        for number in range(count):
            await producer.submit(number)
        await producer.flush()


async def take(url: str, log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with unimsg.connect(url) as connection, connection.session("client") as session, session.consumer(QUEUE) as consumer:
        print("ready", flush=True)
        some: list[int] = []
        while True:
            message = await consumer.receive(timeout=0.05 if some else None)
            if message is not None:
                some.append(message.body)
            if some and (message is None or len(some) >= 50):
                os.write(handle, b"".join(b"%d\n" % number for number in some))
                await session.acknowledge()
                some.clear()


if __name__ == "__main__":
    role, url, argument = sys.argv[1:4]
    asyncio.run(publish(url, int(argument)) if role == "publish" else take(url, argument))
