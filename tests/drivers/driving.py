"""Drivers as the client drives them, without the client."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from unimsg.destination import Destination
from unimsg.driver import Delivery, Driver, Frame, Identity, Receiver, Route, Settlement
from unimsg.registry import make_driver

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
    return Frame(text.encode(), Route(destination, **route))


async def post(driver: Driver, destination: Destination[Any], *texts: str, **route: Any) -> None:
    sender = await driver.sender(destination)
    await sender.send([frame(destination, text, **route) for text in texts])
    await sender.close()


def texts(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.frame.data.decode() for delivery in deliveries]


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
