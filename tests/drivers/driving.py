"""Drivers as the client drives them, without the client."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from tests.urls import also
from unimsg import wire
from unimsg.destination import Destination
from unimsg.driver import Delivery, Driver, Frame, Identity, Receiver, Route, Settlement
from unimsg.registry import make_driver

__all__ = ["LONG", "also", "eat", "frame", "identity", "opened", "post", "settle_all", "text_of", "texts"]

LONG = 20.0
"""Seconds within which what must come comes, on the slowest machine."""


@asynccontextmanager
async def opened(url: str, client_id: str | None = None, lost: list[BaseException] | None = None) -> AsyncIterator[Driver]:
    driver: Driver = make_driver(url, Identity(uuid.uuid4().hex, client_id))
    await driver.open((lost if lost is not None else []).append)
    try:
        yield driver
    finally:
        await driver.close()


def identity(driver: Any) -> Identity:
    found: Identity = driver.identity
    return found


def frame(destination: Destination[Any], text: str = "", **route: Any) -> Frame:
    """Return a stanza of a text, and its route, which say the same: some brokers read the one, some the other."""
    said = Route(destination, **{"message_id": f"ID:{uuid.uuid4().hex}", **route})
    head: dict[str, Any] = {"destination": str(destination), "id": said.message_id}
    times = {"timestamp": said.timestamp, "expiration": said.expires_at, "delivery-time": said.deliver_at}
    head |= {name: datetime.fromtimestamp(value, UTC) for name, value in times.items() if value is not None}
    head |= {} if said.group is None else {"group-id": said.group}
    head |= {} if said.priority == 4 else {"priority": said.priority}
    return Frame(wire.encode_parts(head, dict(said.properties), "text", text), said)


def text_of(data: bytes) -> str:
    text: str = wire.decode(data).body
    return text


async def post(driver: Driver, destination: Destination[Any], *texts: str, **route: Any) -> None:
    sender = await driver.sender(destination)
    await sender.send([frame(destination, text, **route) for text in texts])
    await sender.close()


def texts(deliveries: Sequence[Delivery]) -> list[str]:
    return [text_of(delivery.frame.data) for delivery in deliveries]


async def eat(receiver: Receiver, count: int) -> list[str]:
    """Receive exactly so many, and accept them."""
    found: list[str] = []
    while len(found) < count:
        deliveries = await receiver.receive(count - len(found), LONG)
        assert deliveries, f"only {found} came"
        assert list(await receiver.settle([Settlement(each.token) for each in deliveries])) == []
        found += texts(deliveries)
    return found


async def settle_all(receiver: Receiver, deliveries: Sequence[Delivery], *options: Any) -> list[Any]:
    return list(await receiver.settle([Settlement(each.token, *options) for each in deliveries]))
