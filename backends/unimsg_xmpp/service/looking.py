"""Looking at what there is: browsing a queue page by page, and listing places. Every page fits a stanza."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from unimsg.driver import DestinationInfo, Frame
from unimsg.errors import ClosedError, MessageFormatError, ResourceAllocationError, UnimsgError
from unimsg_xmpp.protocol import PACKED_BYTES, STANZA, destination_of, element, pack

if TYPE_CHECKING:
    from unimsg_xmpp.service.session import Session

__all__ = ["Looking", "listed"]

PAGE = 50
PLACES = 200
IDLE = 60.0
"""Seconds after which a browse that nobody goes on with is forgotten."""
OVERHEAD = 4096


class Browse:
    """A browse that was begun: what is left of it, the frame that did not fit the last page, and when it was last used."""

    def __init__(self, frames: AsyncIterator[Frame]) -> None:
        self.frames = frames
        self.kept: bytes | None = None
        self.used = time.monotonic()
        self.busy = True


class Looking:
    """The browses of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._browses: dict[str, Browse] = {}
        self._begun = 0

    @property
    def any(self) -> bool:
        """Tell whether there are browses that somebody may go on with."""
        return bool(self._browses)

    async def browse(self, kid: Element) -> str:
        """Begin a browse, go on with one (`more`), or end one (`end`)."""
        if kid.get("end") is not None:
            await self._forget(kid.get("end", ""))
            return element("page")
        name = kid.get("more")
        if name is None:
            name = self._begin(kid)
        browse = self._browses.get(name)
        if browse is None:
            raise ClosedError(f"there is no browse {name!r:.60}: it ended, or was not asked for more for {IDLE:g} s")
        if browse.busy and kid.get("more") is not None:
            raise ClosedError(f"the browse {name} is being asked for a page already")
        browse.busy = True
        try:
            page, ended = await self._page(browse)
        except BaseException:
            await self._forget(name)
            raise
        browse.busy, browse.used = False, time.monotonic()
        if ended:
            await self._forget(name)
        return element("page", {"more": None if ended else name}, pack(page, zlib=self._session.zlib) if page else "")

    def _begin(self, kid: Element) -> str:
        destination = destination_of(kid)
        self._session.check("consume", destination)
        if len(self._browses) >= self._session.limits.browses:
            raise ResourceAllocationError(f"a session has at most {self._session.limits.browses} browses at once")
        self._begun += 1
        name = f"b{self._begun}"
        self._browses[name] = Browse(self._session.driver.browse(destination, kid.get("selector")))
        return name

    async def _page(self, browse: Browse) -> tuple[list[bytes], bool]:
        """Return the next page, and whether it is the last; what no stanza can carry is left out."""
        page: list[bytes] = []
        size = 0
        while True:
            data, browse.kept = browse.kept, None
            if data is None:
                try:
                    data = (await anext(browse.frames)).data
                except StopAsyncIteration:
                    return page, True
            if not self._carries(data):
                continue
            if page and size + len(data) > PACKED_BYTES:
                browse.kept = data
                return page, False
            page.append(data)
            size += len(data)
            if len(page) >= PAGE:
                return page, False

    def _carries(self, data: bytes) -> bool:
        if len(data) > STANZA - OVERHEAD:
            return False
        if not self._session.zlib:
            try:
                pack([data], zlib=False)
            except UnimsgError:
                return False
        return True

    async def _forget(self, name: str) -> None:
        browse = self._browses.pop(name, None)
        close = getattr(browse.frames, "aclose", None) if browse is not None else None
        if close is not None:
            with contextlib.suppress(RuntimeError):  # a page of it is being read: that one is the last
                await close()

    async def sweep(self, now: float) -> None:
        """Forget what nobody goes on with."""
        for name in [name for name, browse in self._browses.items() if not browse.busy and now - browse.used > IDLE]:
            await self._forget(name)

    async def stop(self) -> None:
        """Forget all."""
        for name in list(self._browses):
            await self._forget(name)


async def listed(session: Session, kid: Element) -> str:
    """Return a page of the places that the asker may know of, in order of name; `after` is what the last page called `more`."""
    after = kid.get("after")
    found = sorted((info for info in await session.driver.inspect() if session.knows(info.destination)), key=_key)
    places: list[str] = []
    size = 0
    last = more = None
    for info in found:
        key = _key(info)
        if after is not None and key <= after:
            continue
        if len(places) >= PLACES or size > PACKED_BYTES:
            more = last
            break
        try:
            places.append(_place(info))
        except MessageFormatError:
            continue  # somebody beside us named a queue so that XML cannot say it
        size += len(places[-1])
        last = key
    return element("contents", {"more": more}, "".join(places))


def _key(info: DestinationInfo) -> str:
    return f"{info.destination} {info.subscription or ''}"


def _place(info: DestinationInfo) -> str:
    values = {
        "destination": info.destination,
        "depth": info.depth,
        "in-flight": info.in_flight,
        "consumers": info.consumers,
        "subscription": info.subscription,
        "oldest": info.oldest,
    }
    return element("place", values, nested=True)
