"""A work queue: three workers share it, some orders fail at first and are tried again, some never work and are set aside."""

import asyncio
import sys

from pydantic import BaseModel

import unimsg
from unimsg import Queue, RedeliveryPolicy


class Order(BaseModel):
    symbol: str
    lots: int


ORDERS = Queue("orders", Order)
HOPELESS = Queue("orders.dead", Order)
SENT = [Order(symbol=symbol, lots=lots) for symbol in ("VOD.L", "IBM", "BAC") for lots in range(1, 16)]


def fill(order: Order, attempt: int) -> None:
    if order.lots == 13:
        raise ValueError("nobody sells thirteen")
    if order.lots == 7 and attempt == 1:
        raise OSError("the exchange did not answer")


async def main(url: str) -> None:
    filled: list[Order] = []
    all_filled = asyncio.Event()

    async def work() -> None:
        async with connection.consumer(ORDERS, mode="individual") as consumer:
            async for message in consumer:
                try:
                    async with message:  # acknowledged at the end of the block, given back if it raises
                        fill(message.body, message.delivery_count)
                        filled.append(message.body)
                except (ValueError, OSError) as error:
                    print(f"{message.body}, delivery {message.delivery_count}: {error}")
                if len(filled) == len(SENT) - 3:
                    all_filled.set()

    policy = RedeliveryPolicy(max_deliveries=3, dead_letter=HOPELESS)
    async with unimsg.connect(url, redelivery=policy) as connection, connection.producer(ORDERS) as producer:
        receipts = [await producer.submit(order) for order in SENT]  # many travel as one batch
        await asyncio.gather(*receipts)  # all are confirmed
        workers = [asyncio.create_task(work()) for _ in range(3)]
        async with connection.consumer(HOPELESS) as undertaker:
            for _ in range(3):
                print("set aside:", (await undertaker.receive()).body)
        await all_filled.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    print(len(filled), "filled,", sum(order.lots for order in filled), "lots")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
