"""A transaction: what was received and what was sent because of it stand together, or fall together."""

import asyncio
import sys

import unimsg
from unimsg import Queue

ORDERS, CONFIRMED = Queue("orders"), Queue("confirmed")


async def main(url: str) -> None:
    async with unimsg.connect(url) as connection:
        async with connection.producer(ORDERS) as producer:
            await producer.send("100 VOD.L")

        async with connection.session("transacted") as session, session.consumer(ORDERS) as orders, session.producer(CONFIRMED) as confirmed:
            for attempt in (1, 2):
                try:
                    async with session.transaction():  # commits at the end, rolls back on an exception
                        order = await orders.receive()
                        await confirmed.send(f"bought {order.body}")
                        if attempt == 1:
                            raise RuntimeError("the power fails")
                        print(f"attempt {attempt}: {order.body}, redelivered: {order.redelivered}")
                except RuntimeError as error:
                    print(f"attempt {attempt}: {error}; nothing was taken, nothing was sent")

        async with connection.consumer(CONFIRMED) as consumer:
            print((await consumer.receive()).body)
            assert await consumer.receive(timeout=0) is None  # once, not twice


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
