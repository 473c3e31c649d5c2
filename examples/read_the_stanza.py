"""The stanza, read and written with nothing but the standard library's XML: any language can do this."""

import asyncio
import sys
import xml.etree.ElementTree as ET

import unimsg
from unimsg import Queue, wire

ORDERS = Queue("orders")
BY_HAND = """
<message xmlns="jabber:client" type="normal">
  <envelope xmlns="urn:unimsg:1" id="ID:by-hand" destination="queue:orders" timestamp="2026-11-22T14:10:00Z">
    <property name="lot" type="int">300</property>
    <body type="text">buy</body>
  </envelope>
</message>
"""


async def main(url: str) -> None:
    async with unimsg.connect(url) as connection, connection.producer(ORDERS) as producer, connection.consumer(ORDERS) as consumer:
        await producer.send("1 < 2", properties={"symbol": "VOD.L"}, type="order")
        stanza = wire.encode(await consumer.receive())  # the bytes as they travelled
        print(stanza.decode())
        envelope = ET.fromstring(stanza)[0]
        print(envelope.get("type"), [child.text for child in envelope])

        message = wire.decode(BY_HAND.encode())  # what somebody else wrote: white space, other quotes, any prefix
        print(message.message_id, dict(message.properties), message.body)
        await producer.send(message)
        received = await consumer.receive()
        print(type(received.properties["lot"]).__name__, "stays what it was")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
