"""The smallest program: one message there and back, on the broker of the command line (memory:// without one)."""

import asyncio
import sys

import unimsg
from unimsg import Queue


async def main(url: str) -> None:
    async with unimsg.connect(url) as connection:
        async with connection.producer(Queue("greetings")) as producer:
            await producer.send("hello, world")
        async with connection.consumer(Queue("greetings")) as consumer:
            message = await consumer.receive()
            print(message.body)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
