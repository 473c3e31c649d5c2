"""Submitting: a lane of its own for each session, in order; what waits together is one operation of the broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element

from unimsg.driver import Frame, Sender
from unimsg.errors import ConnectionLostError, InvalidDestinationError, PartialSendError, ResourceAllocationError, UnimsgError
from unimsg_xmpp.conditions import failure_of
from unimsg_xmpp.protocol import destination_of, element, unpack_each
from unimsg_xmpp.service.routes import frame_of

if TYPE_CHECKING:
    from unimsg_xmpp.service.session import Session

__all__ = ["AT_ONCE", "Submissions", "frames_of"]

AT_ONCE = 1000
"""Stanzas that one `<submit>` may hold: the answer names each that failed, and must fit a stanza too."""
TOGETHER = 2000
"""Messages of waiting submissions that are one operation of the broker."""
WORDY = 65_536
"""Characters of an answer beyond which failures are told without their texts."""


class Submission(NamedTuple):
    """A `<submit>` that waits: the stanzas that may enter, which were refused, how many there were, and their bytes."""

    iq: Element
    frames: list[Frame]
    failures: dict[int, Exception]
    stanzas: int
    size: int


def frames_of(session: Session, kid: Element) -> tuple[list[Frame], dict[int, Exception], int]:
    """Return the frames of a `<submit>`, which of its stanzas are refused, and how many there were. Raises WireFormatError."""
    to = destination_of(kid, "to") if kid.get("to") is not None else None
    frames: list[Frame] = []
    failures: dict[int, Exception] = {}
    stanzas = unpack_each(kid, AT_ONCE)
    for place, data in enumerate(stanzas):
        try:
            if not isinstance(data, bytes):
                raise data
            frame = frame_of(data, to)
            destination = frame.route.destination
            if destination.is_pattern:
                raise InvalidDestinationError(f"{destination}: a pattern is for listening, not for sending")
            session.check("publish", destination)
        except UnimsgError as error:
            failures[place] = error
        else:
            frames.append(frame)
    return frames, failures, len(stanzas)


class Submissions:
    """What one session submits."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sender: Sender | None = None
        self._waiting: deque[Submission] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def take(self, iq: Element, kid: Element) -> None:
        """Take a `<submit>` that is not empty; it is answered once the broker has it. Raises what refuses it as a whole."""
        session = self._session
        frames, failures, count = frames_of(session, kid)
        if not frames:
            self._answer(iq, failures, count)
            return
        size = sum(len(frame.data) for frame in frames)
        limits = session.limits
        if self._bytes and self._bytes + size > limits.submitted_bytes:
            raise ResourceAllocationError(f"over {limits.submitted_bytes} bytes are submitted and not answered: wait for answers")
        self._bytes += size
        self._waiting.append(Submission(iq, frames, failures, count, size))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"unimsg xmpp submissions of {session.jid}")

    async def prepare(self, kid: Element) -> str:
        """Make the queue of a `<submit/>` without content, and see whether it may be sent to."""
        destination = destination_of(kid, "to")
        self._session.check("publish", destination)
        await self._session.driver.sender(destination)
        return element("submitted")

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # what came in the same packet goes with it
                together: list[Submission] = []
                many = 0
                while self._waiting and (not together or many + len(self._waiting[0].frames) <= TOGETHER):
                    together.append(self._waiting.popleft())
                    many += len(together[-1].frames)
                await self._send(together)
        finally:
            self._task = None

    async def _send(self, together: Sequence[Submission]) -> None:
        failed: dict[int, Exception] = {}
        every = [frame for submission in together for frame in submission.frames]
        try:
            if self._sender is None:
                self._sender = await self._session.driver.sender(None)
            await self._sender.send(every)
        except PartialSendError as error:
            failed = dict(error.failures)
        except Exception as error:  # noqa: BLE001  - it concerns these, and they hear it
            failed = dict.fromkeys(range(len(every)), error)
        start = 0
        for iq, frames, failures, count, size in together:
            self._bytes -= size
            kept = [place for place in range(count) if place not in failures]
            if failed:
                failures.update((place, failed[start + at]) for at, place in enumerate(kept) if start + at in failed)
            start += len(frames)
            self._answer(iq, failures, count)
        if any(isinstance(error, ConnectionLostError) for error in failed.values()):
            self._session.gone("the broker has given it up")

    def _answer(self, iq: Element, failures: dict[int, Exception], count: int) -> None:
        if failures and len(failures) == count:
            self._session.refuse(iq, failures[min(failures)])
            return
        told: list[str] = []
        size = 0
        for place in sorted(failures):
            told.append(failure_of(place, failures[place], wordy=size < WORDY))
            size += len(told[-1])
        self._session.answer(iq, element("submitted", None, "".join(told)))

    async def stop(self) -> None:
        """End the lane: what waits is not sent any more, and its senders hear nothing (their session is over)."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._waiting.clear()
