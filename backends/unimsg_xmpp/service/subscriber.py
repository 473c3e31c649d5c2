"""One consumer of a session: what the broker lends it is pushed to the client, as far as credit and answers allow.

broker ──receive──> numbered, held ──<deliver>──> client ──<settle>──> settled
│
at most `credit` not yet received, at most 4 stanzas not yet answered
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from unimsg.driver import Delivery, Outcome, Receiver, Settlement, Source
from unimsg.errors import ClosedError, ConnectionLostError, ResourceAllocationError, UnimsgError
from unimsg_xmpp.conditions import failure_details
from unimsg_xmpp.protocol import CREDIT, PACKED_BYTES, PACKED_COUNT, STANZA, element, pack
from unimsg_xmpp.stream import StanzaError

if TYPE_CHECKING:
    from unimsg_xmpp.service.session import Session

__all__ = ["Subscriber"]

log = logging.getLogger("unimsg")
WINDOW = 4
"""Deliveries (stanzas) without an answer; a client that reads nothing costs the server no more than these."""
PLAIN_COUNT = 10
PLAIN_BYTES = 65_536
OVERHEAD = 4096
"""Bytes of a stanza that are not the message's."""
GONE = ("service-unavailable", "recipient-unavailable", "remote-server-not-found", "remote-server-timeout", "gone")


class Subscriber:
    """Push from one receiver of the broker to one consumer of a client."""

    def __init__(self, session: Session, name: str, source: Source, credit: int) -> None:
        self.name = name
        self.source = source
        self.held: dict[int, Delivery] = {}
        self.extended: dict[int, float] = {}
        self.receiver: Receiver
        self.attached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._session = session
        self._granted = min(credit, CREDIT)
        self._sent = 0
        self._open_answers = 0
        self._looks: deque[Element] = deque()
        self._changed = asyncio.Event()
        self._dropped = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, receiver: Receiver) -> None:
        """Begin to push."""
        self.receiver = receiver
        self.attached.set_result(True)
        self._task = asyncio.get_running_loop().create_task(self._pump(), name=f"unimsg xmpp consumer {self.name}")

    def grant(self, up_to: int) -> None:
        """Take a new credit. Raises ResourceAllocationError for one that is too far ahead."""
        if up_to > self._sent + CREDIT:
            raise ResourceAllocationError(f"credit up to {up_to}: {self._sent} were delivered, and at most {CREDIT} may be asked for ahead")
        if up_to > self._granted:
            self._granted = up_to
            self._changed.set()

    def look(self, iq: Element) -> None:
        """Answer once everything that could be delivered now was sent."""
        self._looks.append(iq)
        self._changed.set()

    def wake(self) -> None:
        """Look again: the client is heard of."""
        self._changed.set()

    async def _pump(self) -> None:
        try:
            while True:
                self._changed.clear()
                if self._session.silent:
                    await self._changed.wait()
                    continue
                looks = len(self._looks)
                room = min(self._granted - self._sent, PACKED_COUNT if self._session.zlib else PLAIN_COUNT)
                if room > 0 and self._open_answers < WINDOW:
                    found = await self.receiver.receive(room, 0)
                    if found:
                        self._push(found)
                        await self._session.stream.drain()
                        continue
                if looks and (room <= 0 or self._open_answers < WINDOW):
                    for _ in range(looks):
                        self._session.answer(self._looks.popleft(), element("credited"))
                elif room <= 0 or self._open_answers >= WINDOW:
                    await self._changed.wait()
                elif not self._changed.is_set():
                    await self._wait(room)
        except asyncio.CancelledError:
            raise
        except ClosedError:
            return
        except ConnectionLostError as error:
            self._session.consumer_ended(self, error)
        except Exception as error:  # noqa: BLE001  - whatever it was, the client must hear that nothing more will come
            self._session.consumer_ended(self, error)

    async def _wait(self, room: int) -> None:
        """Wait for a message, or for something else to do."""
        loop = asyncio.get_running_loop()
        arriving = loop.create_task(self.receiver.receive(room, None), name="unimsg xmpp receive")
        changing = loop.create_task(self._changed.wait(), name="unimsg xmpp change")
        try:
            await asyncio.wait((arriving, changing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changing.cancel()
            if not arriving.done():
                arriving.cancel()
            await asyncio.wait((arriving, changing))
            if not arriving.cancelled() and arriving.exception() is None and (found := arriving.result()):
                self._push(found)  # also while we are stopped: what has a number goes back as never shown
        if not arriving.cancelled():
            arriving.result()
            await self._session.stream.drain()

    def _push(self, found: Sequence[Delivery]) -> None:
        """Send deliveries; large ones in several stanzas."""
        start = size = 0
        most = PACKED_BYTES if self._session.zlib else PLAIN_BYTES
        for place, delivery in enumerate(found):
            more = len(delivery.frame.data)
            if place > start and size + more > most:
                self._send(found[start:place])
                start, size = place, 0
            size += more
        self._send(found[start:])

    def _send(self, found: Sequence[Delivery]) -> None:
        if len(found) == 1 and (size := len(found[0].frame.data)) > STANZA - OVERHEAD:
            self._session.set_aside(self, found[0], f"it has {size} bytes, and a stanza carries at most {STANZA - OVERHEAD}")
            return
        try:
            content = pack([delivery.frame.data for delivery in found], zlib=self._session.zlib)
        except UnimsgError as error:
            if len(found) == 1:
                self._session.set_aside(self, found[0], f"it cannot travel to a client without packing: {error}")
            else:
                for delivery in found:
                    self._send([delivery])
            return
        first = self._sent + 1
        self._sent += len(found)
        numbers = range(first, first + len(found))
        self.held.update(zip(numbers, found, strict=True))
        counts = [delivery.count for delivery in found]
        dropped = self.receiver.dropped()
        values: dict[str, object] = {"consumer": self.name, "first": first}
        if any(count != 1 for count in counts):
            values["counts"] = " ".join(map(str, counts))
        if dropped != self._dropped:
            self._dropped = values["dropped"] = dropped
        asked = self._session.stream.request(self._session.jid, "set", element("deliver", values, content))
        self._open_answers += 1
        self._session.unanswered[asked] = time.monotonic()
        asked.add_done_callback(lambda answer: self._answered(answer, numbers))

    def _answered(self, answer: asyncio.Future[Element], numbers: Iterable[int]) -> None:
        self._open_answers -= 1
        self._session.unanswered.pop(answer, None)
        self._changed.set()
        error = None if answer.cancelled() else answer.exception()
        if error is None:
            return
        if not isinstance(error, StanzaError) or error.condition in GONE:
            self._session.gone(f"a delivery came back: {error}")
        elif error.condition == "item-not-found":
            self._session.give_back(self, Outcome.UNSEEN, numbers)  # closed in the meantime
        else:
            self._session.consumer_ended(self, ResourceAllocationError(f"the client could not take a delivery: {error}"))

    def tokens(self, numbers: Iterable[int]) -> tuple[list[int], list[int]]:
        """Return which numbers are held, and which are not (settled before, taken back, or never delivered)."""
        held: list[int] = []
        stale: list[int] = []
        for number in numbers:
            (held if number in self.held else stale).append(number)
        return held, stale

    def claim(self, numbers: Iterable[int]) -> tuple[dict[int, Delivery], list[int]]:
        """Take deliveries off the list of what is held; return them, and the numbers that were not on it."""
        claimed: dict[int, Delivery] = {}
        stale: list[int] = []
        for number in numbers:
            delivery = self.held.pop(number, None)
            if delivery is None:
                stale.append(number)
            else:
                claimed[number] = delivery
        return claimed, stale

    async def settle(self, groups: Sequence[tuple[Outcome, float, Sequence[int]]]) -> list[int]:
        """Settle; return the stale numbers."""
        stale: list[int] = []
        settlements: list[Settlement] = []
        by_token: dict[Any, int] = {}
        taken: dict[int, Delivery] = {}
        for outcome, delay, numbers in groups:
            claimed, missing = self.claim(numbers)
            taken.update(claimed)
            stale += missing
            for number, delivery in claimed.items():
                by_token[delivery.token] = number
                settlements.append(Settlement(delivery.token, outcome, delay))
        if settlements:
            try:
                stale += [by_token[token] for token in await self.receiver.settle(settlements)]
            except BaseException:
                self.held.update(taken)
                raise
        return stale

    async def stop(self) -> None:
        """Push no more."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for iq in self._looks:
            self._session.refuse(iq, ClosedError("the consumer was cancelled"))
        self._looks.clear()

    async def close(self, seen: int | None = None) -> None:
        """Give back what is held: what came after `seen` uncounted. One that is just being attached is waited for."""
        if not await self.attached:
            return
        await self.stop()
        unseen = [] if seen is None else [number for number in self.held if number > seen]
        if unseen:
            try:
                await self.settle([(Outcome.UNSEEN, 0.0, unseen)])
            except UnimsgError as error:
                log.warning("while a consumer was closed: %s", error)
        self.held.clear()
        await self.receiver.close()


def ended(subscriber: Subscriber, error: BaseException) -> str:
    """Write `<ended/>`."""
    return element("ended", {"consumer": subscriber.name, **failure_details(error)})
