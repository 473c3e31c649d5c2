"""Use the queue service without unimsg: a client in plain slixmpp, written from docs/xmpp-service.md alone.

xmpp_plain_client.py JID PASSWORD --queue orders --send 'two lots' --receive 1 [--host … --port … --ca … --service …]
"""

import argparse
import asyncio
import uuid
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

QUEUE, WIRE = "urn:unimsg:queue:1", "urn:unimsg:1"


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid: str, password: str, service: str) -> None:
        super().__init__(jid, password)
        self.service = service
        self.ready = asyncio.Event()
        self.inbox: asyncio.Queue[tuple[int, ET.Element]] = asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.ready.set())
        self.register_handler(Callback("deliver", MatchXPath(f"{{jabber:client}}iq/{{{QUEUE}}}deliver"), self.delivered))

    async def ask(self, name: str, attributes: dict[str, str], *children: ET.Element) -> ET.Element:
        """Send one request of the protocol; the answer's element, or IqError with the service's reason."""
        iq: Any = self.make_iq_set(ito=self.service)
        payload = ET.SubElement(iq.xml, f"{{{QUEUE}}}{name}", attributes)
        payload.extend(children)
        answer = await iq.send()
        found: ET.Element = answer.xml[0] if len(answer.xml) else answer.xml
        return found

    async def open(self) -> None:
        await self.ready.wait()
        self.send_presence(pto=self.service)  # so that the service hears when we are gone
        await self.ask("open", {"connection": uuid.uuid4().hex})  # no packing: envelopes come as they are

    async def submit(self, destination: str, text: str) -> None:
        """Return when the message is on the service's disk."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        envelope = ET.Element(f"{{{WIRE}}}envelope", {"destination": destination, "id": f"ID:{uuid.uuid4()}", "timestamp": now})
        ET.SubElement(envelope, f"{{{WIRE}}}body", {"type": "text"}).text = text
        await self.ask("submit", {}, envelope)

    def delivered(self, iq: Any) -> None:
        deliver = iq.xml[0]
        if iq["from"] == self.service:
            for place, envelope in enumerate(deliver):
                self.inbox.put_nowait((int(deliver.get("first", "0")) + place, envelope))
            iq.reply().send()

    async def receive(self, destination: str, count: int) -> list[str]:
        """Receive so many texts, and acknowledge each."""
        await self.ask("consume", {"consumer": "c1", "destination": destination, "credit": str(count)})
        texts = []
        for _ in range(count):
            number, envelope = await self.inbox.get()
            texts.append(envelope.findtext(f"{{{WIRE}}}body") or "")
            await self.ask("settle", {"consumer": "c1"}, ET.Element(f"{{{QUEUE}}}accept", {"deliveries": str(number)}))
        await self.ask("cancel", {"consumer": "c1"})
        return texts


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jid")
    parser.add_argument("password")
    parser.add_argument("--queue", default="orders")
    parser.add_argument("--send", action="append", default=[], metavar="TEXT")
    parser.add_argument("--receive", type=int, default=0, metavar="COUNT")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--ca", help="a PEM file of the authority that signed the server's certificate")
    parser.add_argument("--service", help="unimsg.DOMAIN if not said")
    args = parser.parse_args()
    client = Client(args.jid, args.password, args.service or f"unimsg.{args.jid.partition('@')[2]}")
    if args.ca:
        client.ca_certs = args.ca
    client.connect(args.host, args.port)
    async with asyncio.timeout(30):
        await client.open()
        for text in args.send:
            await client.submit(f"queue:{args.queue}", text)
        for text in await client.receive(f"queue:{args.queue}", args.receive) if args.receive else []:
            print(text)
        await client.ask("close", {})
        await client.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
