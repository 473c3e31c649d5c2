"""Sending through the service: frames cut into batches, many under way at once, and every failure told by its place."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from unimsg.destination import Destination
from unimsg.driver import Frame
from unimsg.errors import ClosedError, InvalidDestinationError, PartialSendError, UnimsgError
from unimsg_xmpp.addresses import address_of
from unimsg_xmpp.conditions import failed_of
from unimsg_xmpp.protocol import chunks, element, fits, named, number, pack

if TYPE_CHECKING:
    from unimsg_xmpp.driver import ServiceDriver

__all__ = ["ServiceSender", "submissions"]

_START = b'<message xmlns="jabber:client" type="normal"><envelope '


@lru_cache(maxsize=4096)
def _said(destination: Destination[Any]) -> bytes | None:
    """Return how an envelope says this destination, None if it takes escapes (which is rare, and then said beside it)."""
    text = str(destination)
    plain = text.isprintable() and not any(char in text for char in '&<>"\\')
    return f' destination="{text}"'.encode() if plain else None


def _says(data: bytes, destination: Destination[Any]) -> bool:
    """Tell whether an envelope's own destination is this one; a false no costs an attribute.

    `"` is escaped in attributes, so within the start tag nothing else can look like the attribute; the slice ends at the
    first `>`, which may be too soon, and never too late.
    """
    said = _said(destination)
    if said is None or not data.startswith(_START):
        return False
    return said in data[len(_START) - 1 : data.find(b">", len(_START))]


def submissions(frames: Sequence[Frame], *, zlib: bool, limit: int, nested: bool = False) -> Iterator[tuple[int, int, str]]:
    """Yield `<submit>` payloads with the place of their first frame and their number; order is kept.

    Frames go together while their envelopes say where they go, or all go elsewhere, to one destination.
    """
    sizes = [len(frame.data) for frame in frames]
    for size in sizes:
        fits(size, limit)
    start = 0
    while start < len(frames):
        destination = frames[start].route.destination
        end = start + 1
        to: Destination[Any] | None = None
        if _says(frames[start].data, destination):
            while end < len(frames) and _says(frames[end].data, frames[end].route.destination):
                end += 1
        else:
            to = destination
            while end < len(frames) and frames[end].route.destination == to and not _says(frames[end].data, to):
                end += 1
        for cut in chunks(sizes[start:end]):
            part = frames[start + cut.start : start + cut.stop]
            payload = element("submit", {"to": to}, pack([frame.data for frame in part], zlib=zlib), nested=nested)
            yield start + cut.start, len(part), payload
        start = end


class ServiceSender:
    """Sends to wherever the routes say."""

    def __init__(self, driver: ServiceDriver) -> None:
        self._driver = driver
        self._closed = False

    async def send(self, frames: Sequence[Frame]) -> None:
        """Return when the service has all of them on its disk; several batches are under way at once."""
        driver = self._driver
        if self._closed:
            raise ClosedError("the sender is closed")
        for frame in frames:
            if frame.route.destination.is_pattern:
                raise InvalidDestinationError(f"{frame.route.destination}: a pattern is for listening, not for sending")
        addresses = [address_of(frame.route.destination) for frame in frames] if any(frame.route.destination.feature == "direct" for frame in frames) else []
        failures: dict[int, Exception] = {}
        if not addresses:
            await self._submit(frames, range(len(frames)), failures)
        else:
            for address, group in itertools.groupby(range(len(frames)), key=addresses.__getitem__):
                places = list(group)
                part = [frames[place] for place in places]
                if address is None:
                    await self._submit(part, places, failures)
                else:
                    try:
                        await driver.send_direct(address, part)
                    except PartialSendError as partial:
                        failures.update({places[at]: error for at, error in partial.failures.items()})
                    except UnimsgError as error:
                        failures.update(dict.fromkeys(places, error))
        if failures:
            raise next(iter(failures.values())) if len(failures) == len(frames) else PartialSendError(failures)

    async def _submit(self, frames: Sequence[Frame], places: Sequence[int], failures: dict[int, Exception]) -> None:
        """Submit to the service; what fails goes to `failures`, by its place."""
        driver = self._driver
        under_way: list[tuple[int, int, asyncio.Future[Element]]] = []
        try:
            for first, count, payload in submissions(frames, zlib=driver.zlib, limit=driver.max_message_bytes):
                try:
                    under_way.append((first, count, await driver.ask(payload)))
                except Exception as error:  # noqa: BLE001  - of the connection: what is under way has its own answer
                    failures.update(dict.fromkeys(places[first:], error))
                    break
            for first, count, answer in under_way:
                try:
                    failed = _failures(await driver.answered(answer), first, count)
                    failures.update({places[at]: error for at, error in failed.items()})
                except Exception as error:  # noqa: BLE001  - whatever it was, it concerns these frames and no others
                    failures.update(dict.fromkeys(places[first : first + count], error))
        except BaseException:
            for _, _, answer in under_way:
                answer.cancel()
            raise

    async def close(self) -> None:
        """Send no more."""
        self._closed = True


def _failures(answer: Element, first: int, count: int) -> dict[int, Exception]:
    submitted = answer[0] if len(answer) else answer
    return {first + number(kid, "at", most=count - 1): failed_of(kid) for kid in submitted if named(kid) == "failed"}
