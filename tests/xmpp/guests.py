"""A service in the test's own event loop, and clients of it that say what the test wants, by hand."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self
from xml.etree.ElementTree import Element

from unimsg import wire
from unimsg.registry import URL
from unimsg.testing import Server
from unimsg_xmpp.conditions import error_of
from unimsg_xmpp.protocol import element, named, unpack
from unimsg_xmpp.service.access import Access, rule_of
from unimsg_xmpp.service.service import Service
from unimsg_xmpp.settings import settings_of
from unimsg_xmpp.stream import StanzaError, Stream

__all__ = ["Guest", "envelope", "place", "serving"]


def place() -> str:
    """Return a name that nobody else uses."""
    return uuid.uuid4().hex


def envelope(destination: str, message_id: str = "", text: str = "", more: str = "") -> str:
    """Write a message."""
    name = message_id or f"ID:{uuid.uuid4().hex}"
    return f'<envelope xmlns="urn:unimsg:1" destination="{destination}" id="{name}"{more}><body type="text">{text}</body></envelope>'


@contextlib.asynccontextmanager
async def serving(server: Server, *allow: str, store: str = "", **options: Any) -> AsyncIterator[Service]:
    """Run a service as a component of a server."""
    access = Access(map(rule_of, allow or ("*@localhost",)))
    service = Service(server.component_url(server.components[-2]), store or f"memory://{place()}", access, **options)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


class Guest:
    """A client. It answers every delivery, unless it is told to leave them (`answers`), and keeps what came."""

    def __init__(self, server: Server, service: str, user: str = "alice") -> None:
        self.service = service
        self.answers = True
        self.deliveries: asyncio.Queue[tuple[Element, list[str]]] = asyncio.Queue()
        self.ended: asyncio.Queue[Element] = asyncio.Queue()
        self.presences: asyncio.Queue[Element] = asyncio.Queue()
        self.connection = uuid.uuid4().hex
        settings = settings_of(URL(server.url(user, "pw", tls="off")))
        self.stream = Stream(settings, on_iq=self._iq, on_message=lambda _: None, on_presence=self._presence, on_lost=lambda _: None)

    def _presence(self, presence: Element) -> None:
        if presence.get("from") == self.service:
            self.presences.put_nowait(presence)

    def _iq(self, iq: Element) -> None:
        kid = iq[0]
        if named(kid) == "ended":
            self.ended.put_nowait(kid)
        else:
            texts = [str(wire.decode(data).payload) for data in unpack(kid)]
            self.deliveries.put_nowait((kid, texts))
        if self.answers:
            self.stream.reply(iq)

    async def __aenter__(self) -> Self:
        await self.stream.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.close()

    async def open(self, **values: Any) -> Element:
        """Say that we are here, and open a session."""
        self.stream.send(f'<presence to="{self.service}"/>')
        return await self.ask("open", connection=self.connection, **values)

    async def say(self, payload: str, kind: Any = "set") -> Element:
        """Ask; return the answer's child (or the answer, if it is empty). Raises our error for the service's."""
        async with asyncio.timeout(20):
            try:
                answer = await self.stream.request(self.service, kind, payload)
            except StanzaError as error:
                raise error_of(error, self.service) from error
        return answer[0] if len(answer) else answer

    async def ask(self, name: str, content: str = "", **values: object) -> Element:
        """Ask by name and attributes; `_` in their names is written `-`."""
        return await self.say(element(name, {key.replace("_", "-").strip("-"): value for key, value in values.items()}, content))

    async def send(self, destination: str, *texts: str) -> Element:
        """Submit messages."""
        return await self.ask("submit", "".join(envelope(destination, text=text) for text in texts))

    async def look(self, consumer: str, up_to: int) -> list[str]:
        """Return the texts of all that can be delivered now."""
        await self.ask("credit", consumer=consumer, up_to=up_to, look=True)
        return self.came()

    def came(self) -> list[str]:
        """Return the texts of what has been delivered since the last time."""
        found: list[str] = []
        while not self.deliveries.empty():
            found += self.deliveries.get_nowait()[1]
        return found

    async def taken(self, count: int) -> list[str]:
        """Wait for so many deliveries; return their texts."""
        found: list[str] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                found += (await self.deliveries.get())[1]
        return found

    async def depth(self, destination: str) -> tuple[int, int]:
        """Return how many wait in a queue, and how many are held."""
        contents = await self.ask("inspect")
        found = [each for each in contents if each.get("destination") == destination]
        return (int(found[0].get("depth", "")), int(found[0].get("in-flight", ""))) if found else (0, 0)

    async def until(self, destination: str, depth: tuple[int, int]) -> None:
        """Wait until a queue has so many waiting and held."""
        async with asyncio.timeout(20):
            while True:
                if await self.depth(destination) == depth:
                    return
                await asyncio.sleep(0.02)


def names(elements: Sequence[Element]) -> list[str]:
    """Return the names of elements."""
    return [named(each) for each in elements]
