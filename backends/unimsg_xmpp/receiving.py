"""Receiving from the service: deliveries are pushed, as far as credit was granted, and wait here until they are asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from unimsg.destination import Destination, parse_destination
from unimsg.driver import Delivery, Frame, Outcome, Route, Settlement, Source
from unimsg.errors import ClosedError, ConnectionLostError, UnimsgError
from unimsg_xmpp.protocol import CREDIT, BadRequestError, element, number, numbers, ranges, unpack

if TYPE_CHECKING:
    from unimsg_xmpp.driver import ServiceDriver

__all__ = ["ServiceReceiver", "settlement"]

_SAID = b' destination="'


def settlement(consumer: str, settlements: Sequence[Settlement], *, nested: bool = False) -> str:
    """Write `<settle>`."""
    groups: dict[tuple[Outcome, float], list[int]] = {}
    for token, outcome, delay in settlements:
        groups.setdefault((outcome, delay if outcome is Outcome.RELEASE else 0.0), []).append(token)
    inner = "".join(
        element(outcome.value, {"deliveries": ranges(tokens), "delay": f"{delay:.6f}" if delay > 0 else None}, nested=True)
        for (outcome, delay), tokens in groups.items()
    )
    return element("settle", {"consumer": consumer}, inner, nested=nested)


def stale_of(answer: Element) -> list[int]:
    """Read which deliveries an answer calls stale."""
    return numbers(answer[0].get("stale", "")) if len(answer) else []


class ServiceReceiver:
    """Receives from one consumer of the service."""

    def __init__(self, driver: ServiceDriver, consumer: str, source: Source, credit: int) -> None:
        self.driver = driver
        self.consumer = consumer
        self._source = source
        self._credit = max(1, min(credit, CREDIT))
        self._granted = self._credit
        self._came = 0
        self._taken = 0
        self._buffer: deque[Delivery] = deque()
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False
        self._failure: UnimsgError | None = None
        self._dropped = 0
        pattern = source.destination.is_pattern
        self._route = None if pattern else Route(source.destination)

    @property
    def credit(self) -> int:
        """Return the credit that `<consume>` grants."""
        return self._credit

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._closed

    # What the service sends.

    def deliver(self, found: Element) -> None:
        """Take a `<deliver>`. Raises BadRequestError, WireFormatError: the service takes them back."""
        frames = unpack(found)
        first = number(found, "first", least=1)
        counts = found.get("counts")
        if first != self._came + 1 or self._came + len(frames) > self._granted:
            raise BadRequestError(f"deliveries {first} to {first + len(frames) - 1}: {self._came} came and {self._granted} were granted")
        times = [1] * len(frames) if counts is None else [int(count) for count in counts.split() if count.isascii() and count.isdigit()]
        if len(times) != len(frames):
            raise BadRequestError("counts= does not match the deliveries")
        self._dropped = number(found, "dropped", self._dropped)
        self._came += len(frames)
        for place, (data, count) in enumerate(zip(frames, times, strict=True)):
            self._buffer.append(Delivery(Frame(data, self._route or Route(_destination(data))), first + place, count))
        self._wake()

    def fail(self, error: UnimsgError) -> None:
        """End: the service, or the connection, says so. What is here already can still be received, unless it is lost."""
        if self._failure is None:
            self._failure = error
            if isinstance(error, ConnectionLostError):
                self._buffer.clear()  # the service has given it back
        self._wake()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    # What the contract wants.

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("the receiver is closed")
        self.driver.check()
        if self._failure is not None and not self._buffer:
            raise self._failure

    async def receive(self, limit: int, timeout: float | None) -> list[Delivery]:
        """Return what came; nothing came: ask (timeout 0), or wait."""
        self._check()
        if self._buffer:
            return self._take(limit)
        if timeout == 0:
            await self._look()
            self._check()
            return self._take(limit)
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            self._grant()
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            try:
                async with asyncio.timeout_at(end):
                    await future
            except TimeoutError:
                return self._take(limit)
            finally:
                self._waiting.discard(future)
            self._check()
            if self._buffer:
                return self._take(limit)

    def _take(self, limit: int) -> list[Delivery]:
        buffer = self._buffer
        found = [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        self._taken += len(found)
        self._grant()
        return found

    def _grant(self) -> None:
        """Grant more once half of the credit has been used up; nobody waits for the answer."""
        wanted = self._taken + self._credit
        if wanted - self._granted > self._credit // 2 or (wanted > self._granted and self._came == self._granted):
            self._granted = wanted
            self.driver.tell(element("credit", {"consumer": self.consumer, "up-to": wanted}))

    async def _look(self) -> None:
        self._granted = max(self._granted, self._taken + self._credit)
        try:
            await self.driver.call(element("credit", {"consumer": self.consumer, "up-to": self._granted, "look": True}))
        except ClosedError:
            if self._failure is None:  # else the service has said before why there is no such consumer
                raise

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Any]:
        """Settle; of a closed receiver every token is stale."""
        if self._closed or self._failure is not None or not settlements:
            self.driver.check()
            return [each.token for each in settlements]
        try:
            return stale_of(await self.driver.call(settlement(self.consumer, settlements)))
        except ClosedError:  # the service has ended this consumer meanwhile
            self.driver.check()
            return [each.token for each in settlements]

    async def extend(self, tokens: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Hold deliveries for `seconds` from now even if this connection goes silent."""
        if self._closed or not tokens:
            return list(tokens)
        payload = element("extend", {"consumer": self.consumer, "deliveries": ranges(tokens), "seconds": f"{seconds:.6f}"})
        return stale_of(await self.driver.call(payload))

    def dropped(self) -> int:
        """Return how many messages the overflow policy has dropped, as far as the service has told."""
        return self._dropped

    async def close(self) -> None:
        """Stop; what was never taken goes back as unseen: the service hears which was the last one that was."""
        if self._closed:
            return
        self._closed = True
        self._buffer.clear()
        self._wake()
        self.driver.forget(self)
        with contextlib.suppress(ClosedError, ConnectionLostError):
            await self.driver.call(element("cancel", {"consumer": self.consumer, "seen": self._taken}))


def _destination(data: bytes) -> Destination[Any]:
    """Return the destination that an envelope says, for consumers of patterns."""
    end = data.find(b">")
    end = data.find(b">", end + 1)
    start = data.find(_SAID, 0, end)
    if start >= 0:
        start += len(_SAID)
        text = data[start : data.find(b'"', start)]
        if b"&" not in text and b"\\" not in text:
            return parse_destination(text.decode())
    from unimsg import wire

    return parse_destination(wire.decode(data).head["destination"])
