"""Market data on topics: patterns, a selector over exact prices, and typed fields."""

import asyncio
import sys
from decimal import Decimal

import unimsg
from unimsg import Fields, Topic

QUOTES = [("US.IBM", "181.69", "181.90"), ("US.BAC", "13.94", "13.95"), ("LSE.VOD", "101.2500", "101.3000"), ("US.IBM", "182.20", "182.41")]


async def main(url: str) -> None:
    async with (
        unimsg.connect(url) as connection,
        connection.consumer(Topic("md.>")) as everything,  # entered: whatever is published from now on is heard
        connection.consumer(Topic("md.US.*"), selector="bid >= 182.20") as dear,
        connection.producer() as producer,
    ):
        for subject, bid, ask in QUOTES:
            fields = Fields({"bid": Decimal(bid), "ask": Decimal(ask)})
            await producer.send(fields, to=Topic(f"md.{subject}"), properties={"bid": Decimal(bid)}, key=subject)

        for _ in QUOTES:
            message = await everything.receive()
            assert message.destination is not None
            print(f"{message.destination.name:12} {message.body['bid']} / {message.body['ask']}")

        message = await dear.receive()
        print("dear:", message.body["bid"])
        assert await dear.receive(timeout=0) is None  # the others were never sent to it


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
