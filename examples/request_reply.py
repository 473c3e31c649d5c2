"""Request and reply: a server that squares numbers, and a client that asks many at once."""

import asyncio
import sys

import unimsg
from unimsg import Queue

SQUARES = Queue("squares")


async def serve(url: str) -> None:
    async with unimsg.connect(url) as connection, connection.consumer(SQUARES) as consumer:
        async for request in consumer:
            await connection.reply(request, request.body**2)


async def main(url: str) -> None:
    async with unimsg.connect(url) as connection:
        server = asyncio.create_task(serve(url))
        answers = await asyncio.gather(*(connection.request(SQUARES, number, timeout=10) for number in range(10)))
        print(*(answer.body for answer in answers))
        server.cancel()

        try:
            await connection.request(Queue("nobody"), "hello?", timeout=0.2)
        except TimeoutError as error:
            print(error)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
