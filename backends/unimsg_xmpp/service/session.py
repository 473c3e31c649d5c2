"""One client's session: its requests carried out on an inner driver, each answered once.

Submissions have a lane of their own, in order: those that wait together are one operation of the broker, and one that
blocks holds up nothing else. All other requests run beside each other. The protocol: docs/xmpp-service.md.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from unimsg.deadletter import dead_queue, letter
from unimsg.destination import Destination
from unimsg.driver import DestinationInfo, Driver, Frame, Outcome, Receiver, Sender, Settlement
from unimsg.errors import (
    ClosedError,
    ConnectionLostError,
    IllegalStateError,
    InvalidDestinationError,
    PartialSendError,
    ResourceAllocationError,
    TransactionRolledBackError,
    UnimsgError,
)
from unimsg_xmpp.conditions import failure_of, refusal_of
from unimsg_xmpp.protocol import (
    CREDIT,
    PACKED_BYTES,
    BadRequestError,
    destination_of,
    element,
    flag,
    named,
    number,
    numbers,
    pack,
    ranges,
    seconds,
    source_of,
    unpack,
)
from unimsg_xmpp.service.access import Access, bare_of
from unimsg_xmpp.service.routes import frame_of
from unimsg_xmpp.service.subscriber import Subscriber, ended
from unimsg_xmpp.stream import Stream

if TYPE_CHECKING:
    from unimsg_xmpp.service.service import Limits

__all__ = ["Session"]

log = logging.getLogger("unimsg")
TOGETHER = 2000
"""Messages of waiting submissions that are one operation of the broker."""
PAGE = 50
PLACES = 200
IDLE_BROWSE = 60.0
_NAME = re.compile(r"[0-9A-Za-z._:-]{1,64}")
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}

Submission = tuple[Element, list[Frame], dict[int, Exception], int]


class Session:
    """One client, by its full JID."""

    def __init__(
        self,
        jid: str,
        connection_id: str,
        stream: Stream,
        driver: Driver,
        access: Access,
        limits: Limits,
        *,
        zlib: bool,
        lease: float,
        on_end: Callable[[Session, str], None],
    ) -> None:
        self.jid = jid
        self.bare = bare_of(jid)
        self.connection_id = connection_id
        self.stream = stream
        self.driver = driver
        self.zlib = zlib
        self.lease = lease
        self.seen = time.monotonic()
        self.alive = True
        self._access = access
        self._limits = limits
        self._on_end = on_end
        self._sender: Sender | None = None
        self._subscribers: dict[str, Subscriber] = {}
        self._submissions: deque[Submission] = deque()
        self._submitted_bytes = 0
        self._submitting: asyncio.Task[None] | None = None
        self._open_requests = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._commits: dict[str, tuple[list[Frame], list[tuple[str, list[tuple[Outcome, float, list[int]]]]], int]] = {}
        self._browses: dict[str, tuple[AsyncIterator[Frame], float]] = {}
        self._browsed = 0
        self._ending: asyncio.Task[None] | None = None

    # Requests.

    def request(self, iq: Element, kid: Element) -> None:
        """Take a request: refuse it, or see to it that it is answered."""
        self.seen = time.monotonic()
        if self._open_requests >= self._limits.requests:
            self._refuse(iq, ResourceAllocationError(f"more than {self._limits.requests} requests without an answer: wait for some"))
            return
        self._open_requests += 1
        name = named(kid)
        if name == "submit":
            try:
                self._submit(iq, kid)
            except Exception as error:  # noqa: BLE001  - whatever a stranger can cause is answered
                self.refuse(iq, error)
        elif name == "renew":
            self.answer(iq)
        elif name in _HANDLERS:
            self._do(self._handled(iq, kid, _HANDLERS[name]))
        else:
            self.refuse(iq, BadRequestError(f"<{name or kid.tag[:60]}> is no request"))

    def answer(self, iq: Element, payload: str = "") -> None:
        """Answer a request."""
        self._open_requests -= 1
        if self.alive:
            self.stream.reply(iq, payload)

    def refuse(self, iq: Element, error: BaseException) -> None:
        """Answer a request with an error."""
        self._open_requests -= 1
        self._refuse(iq, error)

    def _refuse(self, iq: Element, error: BaseException) -> None:
        if not isinstance(error, UnimsgError):
            log.error("%s: a request failed", self.jid, exc_info=error)
        if self.alive:
            self.stream.refuse(iq, *refusal_of(error))

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"unimsg xmpp request of {self.jid}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handled(self, iq: Element, kid: Element, handler: Callable[[Session, Element, Element], Awaitable[str | None]]) -> None:
        try:
            payload = await handler(self, iq, kid)
        except Exception as error:  # noqa: BLE001  - see above
            self.refuse(iq, error)
            if isinstance(error, ConnectionLostError):
                self.gone(f"the broker has given it up: {error}")
        else:
            if payload is not None:
                self.answer(iq, payload)

    # Submitting.

    def _frames(self, kid: Element) -> tuple[list[Frame], dict[int, Exception], int]:
        """Return the frames of a `<submit>`, which of its stanzas are refused, and how many there were."""
        to = destination_of(kid, "to") if kid.get("to") is not None else None
        frames: list[Frame] = []
        failures: dict[int, Exception] = {}
        stanzas = unpack(kid)
        for place, data in enumerate(stanzas):
            try:
                frame = frame_of(data, to)
                if frame.route.destination.is_pattern:
                    raise InvalidDestinationError(f"{frame.route.destination}: a pattern is for listening, not for sending")
                self._access.check(self.bare, "publish", frame.route.destination)
            except UnimsgError as error:
                failures[place] = error
            else:
                frames.append(frame)
        return frames, failures, len(stanzas)

    def _submit(self, iq: Element, kid: Element) -> None:
        if not len(kid):
            self._do(self._handled(iq, kid, Session._prepare))
            return
        size = sum(len(part.text or "") for part in kid)
        if self._submitted_bytes + size > self._limits.submitted_bytes:
            raise ResourceAllocationError("too much is submitted and not answered: wait for answers")
        frames, failures, count = self._frames(kid)
        if len(failures) == count:
            self._submitted(iq, failures, count)
            return
        self._submitted_bytes += size
        self._submissions.append((iq, frames, failures, count))
        if self._submitting is None:
            self._submitting = asyncio.get_running_loop().create_task(self._submit_all(), name=f"unimsg xmpp submissions of {self.jid}")

    async def _prepare(self, iq: Element, kid: Element) -> str:
        del iq
        destination = destination_of(kid, "to")
        self._access.check(self.bare, "publish", destination)
        await self.driver.sender(destination)
        return element("submitted")

    async def _submit_all(self) -> None:
        try:
            if self._sender is None:
                self._sender = await self.driver.sender(None)
            while self._submissions:
                await asyncio.sleep(0)  # what came in the same packet goes with it
                together: list[Submission] = []
                many = 0
                while self._submissions and (not together or many + len(self._submissions[0][1]) <= TOGETHER):
                    together.append(self._submissions.popleft())
                    many += len(together[-1][1])
                await self._send(together)
        finally:
            self._submitting = None

    async def _send(self, together: Sequence[Submission]) -> None:
        assert self._sender is not None  # noqa: S101  - `_submit_all` has it
        failed: dict[int, Exception] = {}
        every = [frame for _, frames, _, _ in together for frame in frames]
        try:
            await self._sender.send(every)
        except PartialSendError as error:
            failed = dict(error.failures)
        except Exception as error:  # noqa: BLE001  - it concerns these, and they hear it
            failed = dict.fromkeys(range(len(every)), error)
        start = 0
        for iq, frames, failures, count in together:
            kept = [place for place in range(count) if place not in failures]
            for at, place in enumerate(kept):
                if start + at in failed:
                    failures[place] = failed[start + at]
            start += len(frames)
            self._submitted(iq, failures, count)
        self._submitted_bytes = 0 if not self._submissions else self._submitted_bytes
        if any(isinstance(error, ConnectionLostError) for error in failed.values()):
            self.gone("the broker has given it up")

    def _submitted(self, iq: Element, failures: dict[int, Exception], count: int) -> None:
        if failures and len(failures) == count:
            self.refuse(iq, failures[min(failures)])
        else:
            self.answer(iq, element("submitted", None, "".join(failure_of(place, failures[place]) for place in sorted(failures))))

    # Consuming.

    def _subscriber(self, kid: Element) -> Subscriber:
        found = self._subscribers.get(kid.get("consumer", ""))
        if found is None:
            raise ClosedError(f"this session has no consumer {kid.get('consumer', '')!r:.80}")
        return found

    async def _consume(self, iq: Element, kid: Element) -> str | None:
        name = kid.get("consumer", "")
        if not _NAME.fullmatch(name):
            raise BadRequestError("<consume> has consumer=, a name of 1 to 64 letters, digits and . _ : -")
        if name in self._subscribers:
            raise IllegalStateError(f"this session has a consumer {name!r} already")
        if len(self._subscribers) >= self._limits.consumers:
            raise ResourceAllocationError(f"a session has at most {self._limits.consumers} consumers")
        source, credit = source_of(kid), number(kid, "credit", most=CREDIT)
        self._access.check(self.bare, "consume", source.destination)
        subscriber = Subscriber(self, name, source, credit)
        self._subscribers[name] = subscriber
        try:
            receiver = await self.driver.receiver(source, credit)
        except BaseException:
            self._subscribers.pop(name, None)
            subscriber.attached.set_result(False)
            raise
        self.answer(iq, element("consuming", {"consumer": name}))
        subscriber.start(receiver)
        return None

    async def _credit(self, iq: Element, kid: Element) -> str | None:
        subscriber = self._subscriber(kid)
        subscriber.grant(number(kid, "up-to"))
        if not flag(kid, "look"):
            return element("credited")
        subscriber.look(iq)
        return None

    def _groups(self, kid: Element) -> list[tuple[Outcome, float, list[int]]]:
        groups: list[tuple[Outcome, float, list[int]]] = []
        for part in kid:
            outcome = _OUTCOMES.get(named(part))
            if outcome is None:
                raise BadRequestError(f"<settle> holds accept, release, unseen and reject, not <{named(part) or part.tag[:60]}>")
            delay = seconds(part, "delay", 0.0) if outcome is Outcome.RELEASE else 0.0
            groups.append((outcome, delay, numbers(part.get("deliveries", ""))))
        return groups

    async def _settle(self, iq: Element, kid: Element) -> str:
        del iq
        subscriber = self._subscriber(kid)
        stale: list[int] = []
        rejected = [part for part in kid if named(part) == "reject"]
        for part in rejected:
            stale += await self._reject(subscriber, numbers(part.get("deliveries", "")), part.get("reason", "rejected"))
            kid.remove(part)
        groups = self._groups(kid)
        if groups:
            stale += await subscriber.settle(groups)
        return element("settled", {"stale": ranges(stale) or None})

    async def _reject(self, subscriber: Subscriber, rejected: Iterable[int], reason: str) -> list[int]:
        """Move deliveries to the dead letters, each in a transaction with its acknowledgement."""
        held, stale = subscriber.tokens(rejected)
        for place in held:
            delivery = subscriber.held[place]
            to = dead_queue(subscriber.source, delivery)
            frame = letter(delivery, delivery.frame.route.destination, to, reason, f"ID:{self.connection_id}-dead-{place}")
            try:
                await self.driver.commit([frame], [(subscriber.receiver, [Settlement(delivery.token)])])
            except TransactionRolledBackError:
                stale.append(place)
            subscriber.held.pop(place, None)
        return stale

    async def _extend(self, iq: Element, kid: Element) -> str:
        del iq
        subscriber = self._subscriber(kid)
        held, stale = subscriber.tokens(numbers(kid.get("deliveries", "")))
        until = seconds(kid, "seconds")
        by_token = {subscriber.held[place].token: place for place in held}
        late = {by_token[token] for token in await subscriber.receiver.extend(list(by_token), until)}
        subscriber.extended.update((place, time.monotonic() + until) for place in held if place not in late)
        return element("extended", {"stale": ranges([*stale, *late]) or None})

    async def _cancel(self, iq: Element, kid: Element) -> str:
        del iq
        subscriber = self._subscriber(kid)
        del self._subscribers[subscriber.name]
        await subscriber.close(number(kid, "seen") if kid.get("seen") is not None else None)
        return element("cancelled")

    def give_back(self, subscriber: Subscriber, places: Iterable[int]) -> None:
        """Give deliveries back that the client did not take."""

        async def work() -> None:
            try:
                await subscriber.settle([(Outcome.UNSEEN, 0.0, list(places))])
            except UnimsgError as error:
                log.warning("%s: %s", self.jid, error)

        if self._subscribers.get(subscriber.name) is subscriber:
            self._do(work())

    def consumer_ended(self, subscriber: Subscriber, error: BaseException) -> None:
        """Tell the client that a consumer has ended, and let go of it."""
        if self._subscribers.get(subscriber.name) is not subscriber:
            return
        del self._subscribers[subscriber.name]
        if not isinstance(error, UnimsgError):
            log.error("%s: a consumer failed", self.jid, exc_info=error)
        if self.alive:
            told = self.stream.request(self.jid, "set", ended(subscriber, error))
            told.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._do(subscriber.close())

    # Transactions.

    async def _commit(self, iq: Element, kid: Element) -> str:
        del iq
        name = kid.get("id", "")
        if not _NAME.fullmatch(name):
            raise BadRequestError("<commit> has id=, a name of 1 to 64 letters, digits and . _ : -")
        frames, settled, size = self._commits.pop(name, ([], [], 0))
        for part in kid:
            if named(part) == "submit":
                more, failures, _ = self._frames(part)
                if failures:
                    raise failures[min(failures)]
                frames += more
                size += sum(len(frame.data) for frame in more)
            elif named(part) == "settle":
                settled.append((part.get("consumer", ""), self._groups(part)))
                size += sum(16 * len(places) for _, _, places in settled[-1][1])
            else:
                raise BadRequestError(f"<commit> holds <submit> and <settle>, not <{named(part) or part.tag[:60]}>")
        if size + sum(each[2] for each in self._commits.values()) > self._limits.commit_bytes:
            raise ResourceAllocationError(f"the transaction is over {self._limits.commit_bytes} bytes")
        if flag(kid, "more"):
            self._commits[name] = frames, settled, size
            return element("committed")
        await self._commit_all(frames, settled)
        return element("committed")

    async def _commit_all(self, frames: list[Frame], settled: Sequence[tuple[str, list[tuple[Outcome, float, list[int]]]]]) -> None:
        settlements: list[tuple[Receiver, list[Settlement]]] = []
        done: list[tuple[Subscriber, list[int]]] = []
        for name, groups in settled:
            subscriber = self._subscribers.get(name)
            if subscriber is None:
                raise TransactionRolledBackError(f"the consumer {name!r:.80} is gone, and with it its deliveries")
            listed: list[Settlement] = []
            for outcome, delay, places in groups:
                held, stale = subscriber.tokens(places)
                if stale:
                    raise TransactionRolledBackError(f"{len(stale)} of the deliveries in this transaction are no longer ours")
                listed += [Settlement(subscriber.held[place].token, outcome, delay) for place in held]
                done.append((subscriber, held))
            settlements.append((subscriber.receiver, listed))
        await self.driver.commit(frames, settlements)
        for subscriber, held in done:
            for place in held:
                subscriber.held.pop(place, None)

    # Looking and managing.

    async def _declare(self, iq: Element, kid: Element) -> str:
        del iq
        await self.driver.declare(self._managed(kid))
        return element("declared")

    async def _delete(self, iq: Element, kid: Element) -> str:
        del iq
        await self.driver.delete(self._managed(kid))
        return element("deleted")

    async def _purge(self, iq: Element, kid: Element) -> str:
        del iq
        return element("purged", {"count": await self.driver.purge(self._managed(kid), kid.get("subscription"))})

    async def _unsubscribe(self, iq: Element, kid: Element) -> str:
        del iq
        name = kid.get("subscription", "")
        for info in await self.driver.inspect():
            if info.subscription == name:
                self._access.check(self.bare, "consume", info.destination)
        await self.driver.unsubscribe(name)
        return element("unsubscribed")

    def _managed(self, kid: Element) -> Destination[Any]:
        destination = destination_of(kid)
        self._access.check(self.bare, "manage", destination)
        return destination

    async def _browse(self, iq: Element, kid: Element) -> str:
        del iq
        now = time.monotonic()
        for name in [name for name, (_, used) in self._browses.items() if now - used > IDLE_BROWSE]:
            await self._forget_browse(name)
        if kid.get("end") is not None:
            await self._forget_browse(kid.get("end", ""))
            return element("page")
        name = kid.get("more", "")
        if name:
            if name not in self._browses:
                raise ClosedError(f"there is no browse {name!r:.60}: it ended, or was not asked for more for {IDLE_BROWSE:g} s")
            frames, _ = self._browses.pop(name)
        else:
            destination = destination_of(kid)
            self._access.check(self.bare, "consume", destination)
            if len(self._browses) >= self._limits.browses:
                raise ResourceAllocationError(f"a session has at most {self._limits.browses} browses at once")
            frames = self.driver.browse(destination, kid.get("selector"))
            self._browsed += 1
            name = f"b{self._browsed}"
        page: list[bytes] = []
        size = 0
        async for frame in frames:
            page.append(frame.data)
            size += len(frame.data)
            if len(page) >= PAGE or size >= PACKED_BYTES // 2:
                self._browses[name] = frames, time.monotonic()
                return element("page", {"more": name}, pack(page, zlib=self.zlib))
        return element("page", None, pack(page, zlib=self.zlib) if page else "")

    async def _forget_browse(self, name: str) -> None:
        frames = self._browses.pop(name, (None, 0.0))[0]
        if frames is not None:
            await frames.aclose()  # type: ignore[attr-defined]  # it is a generator

    async def _inspect(self, iq: Element, kid: Element) -> str:
        del iq
        places = [
            info
            for info in await self.driver.inspect()
            if any(self._access.may(self.bare, right, info.destination) for right in ("consume", "publish", "manage"))
        ]
        start = number(kid, "after", 0)
        shown = places[start : start + PLACES]
        more = start + PLACES if start + PLACES < len(places) else None
        return element("contents", {"more": more}, "".join(map(_place, shown)))

    # The end.

    async def _close(self, iq: Element, kid: Element) -> str | None:
        del kid
        self.answer(iq)
        self._end("closed by its client")
        return None

    def gone(self, why: str) -> None:
        """End: the client, or what carries it, is gone."""
        self._end(why)

    def _end(self, why: str) -> None:
        if self.alive:
            self.alive = False
            self._on_end(self, why)

    async def end(self) -> None:
        """Give everything back; once, whoever asks."""
        self.alive = False
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._finish(), name=f"unimsg xmpp end of {self.jid}")
        await asyncio.shield(self._ending)

    async def _finish(self) -> None:
        for subscriber in list(self._subscribers.values()):
            await subscriber.stop()
        waiting = [task for task in (*self._tasks, self._submitting) if task is not None]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for name in list(self._browses):
            await self._forget_browse(name)
        self._subscribers.clear()
        await self.driver.close()

    def lapse(self, now: float) -> bool:
        """Tell whether the lease has run out: what was not extended goes back; the session ends with the last extension."""
        if now - self.seen <= self.lease:
            return False
        lasting = False
        for subscriber in self._subscribers.values():
            subscriber.extended = {place: until for place, until in subscriber.extended.items() if until > now and place in subscriber.held}
            lasting = lasting or bool(subscriber.extended)
        if not lasting:
            return True
        for subscriber in self._subscribers.values():
            back = [place for place in subscriber.held if place not in subscriber.extended]
            if back:
                self._do(self._release(subscriber, back))
        return False

    async def _release(self, subscriber: Subscriber, places: Sequence[int]) -> None:
        try:
            await subscriber.settle([(Outcome.RELEASE, 0.0, places)])
        except UnimsgError as error:
            log.warning("%s: %s", self.jid, error)


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


_HANDLERS: dict[str, Callable[[Session, Element, Element], Awaitable[str | None]]] = {
    "consume": Session._consume,
    "credit": Session._credit,
    "settle": Session._settle,
    "extend": Session._extend,
    "cancel": Session._cancel,
    "commit": Session._commit,
    "declare": Session._declare,
    "delete": Session._delete,
    "purge": Session._purge,
    "unsubscribe": Session._unsubscribe,
    "browse": Session._browse,
    "inspect": Session._inspect,
    "close": Session._close,
}
