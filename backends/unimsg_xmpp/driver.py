"""The driver of `xmpp://` with the service: one stream, one session, everything by requests and answers.

    stream up ── presence to the service ── <open> ──> session ── <renew> every few seconds
                                                          │
        stream broken, no answer, <no-session/>, service unavailable ──> lost: receivers fail, `on_lost` is told

docs/xmpp-service.md specifies what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from unimsg.capabilities import Capabilities, Feature, Limits, Support
from unimsg.destination import Destination, parse_destination
from unimsg.driver import DestinationInfo, Finding, Frame, Identity, Overflow, Receiver, Route, Settlement, Source
from unimsg.errors import (
    ClosedError,
    ConnectionFailedError,
    ConnectionLostError,
    IllegalStateError,
    InvalidDestinationError,
    InvalidURLError,
    TransactionRolledBackError,
    UnimsgError,
    UnsupportedError,
)
from unimsg.registry import URL
from unimsg_xmpp.addresses import address_of
from unimsg_xmpp.conditions import NoSessionError, error_of, failed_of
from unimsg_xmpp.direct import Direct
from unimsg_xmpp.discovery import find_service
from unimsg_xmpp.inbox import Inbox
from unimsg_xmpp.protocol import LEASE, STANZA, BadRequestError, element, named, number, seconds, source_attributes, unpack
from unimsg_xmpp.receiving import ServiceReceiver, settlement
from unimsg_xmpp.sending import ServiceSender, submissions
from unimsg_xmpp.settings import settings_of
from unimsg_xmpp.stream import StanzaError, Stream

__all__ = ["ServiceDriver"]

log = logging.getLogger("unimsg")
HEARTBEAT = 5.0
"""Seconds between two signs of life while nothing else is said; less if the lease is short."""
PROBE = 1.0
"""Seconds that a request may be without an answer before the service is asked whether it lives."""
REQUESTS = 128
"""Requests that are under way at most; the service allows twice as many."""
OVERHEAD = 4096
"""Bytes of a stanza that are not the message's."""

NATIVE = """
    queue topic topic.pattern subscription.durable subscription.shared temporary selector.topic selector.queue no_local priority time_to_live
    delivery_delay group browse individual release_delay delivery_count extend transaction deduplication overflow inspect purge client_id persistent direct
"""


class ServiceDriver:
    """A connection to the unimsg service of an XMPP domain."""

    def __init__(self, url: URL, identity: Identity) -> None:
        """Judge the URL and its options. Raises InvalidURLError."""
        self.url = url
        self.identity = identity
        self.settings = settings_of(url)
        if self.settings.component:
            raise InvalidURLError(f"{url}: who are you? Write xmpp://user@domain (an address without a user is a component: for `unimsg serve`)")
        self._given = url.option("service", None, _jid, "the address of the service, such as unimsg.example.org, or none")
        self._lease = url.option("lease", LEASE, _time, "seconds without a sign of life after which what is held goes back, 0.1 to 3600")
        self._stanza = url.option("stanza", STANZA, _size, "bytes that the server lets a stanza have, from 10000")
        self._packing = url.choice("packing", "zlib", "none")
        self._create = url.choice("create", "auto", "require")
        accept = url.option("accept", "", str, "from whom messages to our own address are taken: *@domain, addresses, with commas; our domain if not said")
        most = url.option("max_message_bytes", self._stanza - OVERHEAD, _positive, "bytes that a message may have, more than 0")
        url.finish()
        self.max_message_bytes = min(most, self._stanza - OVERHEAD)
        limits = Limits(max_message_bytes=self.max_message_bytes, order="per destination, priority first; what is released returns to its place")
        self.capabilities = Capabilities(NATIVE, limits=limits, persistent=Feature(Support.NATIVE, "on the service's disk before `send` returns"))
        self.zlib = self._packing == "zlib"
        self.service = self._given or ""
        self._direct = Direct(self.settings.domain, [rule for rule in accept.split(",") if rule], self.check)
        self._stream: Stream | None = None
        self._receivers: dict[str, ServiceReceiver] = {}
        self._state = "closed"
        self._lost: UnimsgError | None = None
        self._trouble: UnimsgError | None = None
        self._on_lost: Callable[[BaseException], None] | None = None
        self._asked: dict[asyncio.Future[Element], float] = {}
        self._room = asyncio.Semaphore(REQUESTS)
        self._beat: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._commits = 0
        self._consumers = 0
        self._opened_once = False

    # The connection.

    async def open(self, on_lost: Callable[[BaseException], None]) -> None:
        """Log in, find the service, open a session. Raises SecurityError, ConnectionFailedError, InvalidClientIDError."""
        if self._state != "closed":
            raise IllegalStateError(f"{self.url}: this driver is open already")
        # `_lost` stays until this has succeeded: who asks meanwhile must hear that it is lost, not closed.
        self._state, self._trouble = "opening", None
        self._receivers.clear()
        self._asked.clear()
        self._room = asyncio.Semaphore(REQUESTS)
        if self._stream is None:
            self._stream = Stream(self.settings, on_iq=self._iq, on_message=self._direct.take_message, on_presence=self._presence, on_lost=self._broken)
        stream = self._stream
        try:
            await stream.open()
            try:
                async with asyncio.timeout(self.settings.timeout):
                    await self._enter(stream)
            except TimeoutError:
                raise ConnectionLostError(
                    f"{self.url}: the service {self.service or '(looked for)'} did not answer within {self.settings.timeout:g} s"
                ) from None
            if self._trouble is not None:
                raise self._trouble
        except BaseException as error:
            self._state = "closed"
            await stream.close()
            # The first time a failure is an answer; later it is a trouble that passes (the server is being restarted).
            if isinstance(error, ConnectionLostError) and not self._opened_once:
                raise ConnectionFailedError(str(error)) from error
            if isinstance(error, ConnectionFailedError) and self._opened_once and not isinstance(error, ConnectionLostError):
                raise ConnectionLostError(str(error)) from error
            raise
        self._state, self._opened_once, self._on_lost, self._lost = "open", True, on_lost, None
        self._direct.use(stream)
        self._beat = asyncio.get_running_loop().create_task(self._beats(), name="unimsg xmpp heartbeat")

    async def _enter(self, stream: Stream) -> None:
        self.service = self._given or await find_service(stream, self.settings.domain)
        stream.send(f'<presence to="{self.service}"/>')
        payload = element(
            "open",
            {
                "connection": self.identity.connection_id,
                "client-id": self.identity.client_id,
                "packing": "zlib" if self.zlib else None,
                "create": "require" if self._create == "require" else None,
                "lease": f"{self._lease:g}",
            },
        )
        while True:
            try:
                answer = await stream.request(self.service, "set", payload)
            except StanzaError as error:
                ours = error_of(error, self.service)
                if error.condition == "resource-constraint" and error.kind == "wait" and isinstance(ours, ConnectionLostError):
                    await asyncio.sleep(0.1)  # it is starting: `open` has a time limit
                    continue
                raise ours from error
            break
        if not len(answer) or named(answer[0]) != "opened":
            raise ConnectionFailedError(f"{self.service} is no unimsg service: it answered <open> with something else")
        self._lease = seconds(answer[0], "lease", self._lease)
        self.zlib = self.zlib and answer[0].get("packing") == "zlib"

    async def close(self) -> None:
        """Say goodbye and disconnect; again, and after a loss: nothing."""
        if self._state == "closed" and self._stream is None:
            return
        said = self._state == "open"
        self._state = "closed"
        for receiver in list(self._receivers.values()):
            receiver.fail(ClosedError(f"{self.url}: the connection is closed"))
        stream, self._stream = self._stream, None
        if self._beat is not None:
            self._beat.cancel()
        try:
            if said and stream is not None:
                with contextlib.suppress(StanzaError, UnimsgError, TimeoutError):
                    await stream.request(self.service, "set", element("close"), 2.0)
        finally:
            if stream is not None:
                await stream.close()
            for task in list(self._tasks):
                task.cancel()
            waiting = [task for task in (*self._tasks, self._beat) if task is not None and task is not asyncio.current_task()]
            self._beat = None
            await asyncio.gather(*waiting, return_exceptions=True)

    def _broken(self, error: BaseException) -> None:
        self._lose(error if isinstance(error, ConnectionLostError) else ConnectionLostError(f"{self.url}: {error}"))

    def _lose(self, error: UnimsgError) -> None:
        """Note that the session is gone: everything that waits ends, the stream is cut, `on_lost` is called."""
        if self._state == "opening":
            self._trouble = self._trouble or error
        if self._state != "open":
            return
        self._state, self._lost = "closed", error
        for receiver in list(self._receivers.values()):
            receiver.fail(ConnectionLostError(str(error)))
        for future in list(self._asked):
            if not future.done():
                future.set_exception(ConnectionLostError(f"{self.url}: the connection is lost: {error}"))
        self._do(self._part(error), "unimsg xmpp loss")

    async def _part(self, error: UnimsgError) -> None:
        stream, on_lost = self._stream, self._on_lost
        if self._beat is not None:
            self._beat.cancel()
        if stream is not None:
            await stream.close()
        if on_lost is not None and self._stream is not None:
            asyncio.get_running_loop().call_soon(on_lost, error)

    def _do(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def check(self) -> None:
        """Raise ConnectionLostError or ClosedError unless this is open."""
        if self._state != "open":
            if self._lost is not None:
                raise ConnectionLostError(f"{self.url}: the connection is lost: {self._lost}") from self._lost
            raise ClosedError(f"{self.url}: the connection is closed")

    async def _beats(self) -> None:
        """Show life, and look for the service's: whoever is killed says nothing."""
        loop = asyncio.get_running_loop()
        period = min(HEARTBEAT, self._lease / 3)
        last = loop.time()
        while True:
            await asyncio.sleep(min(PROBE, period))
            now = loop.time()
            oldest = min(self._asked.values(), default=now)
            if now - last < period and now - oldest < PROBE:
                continue
            last = now
            with contextlib.suppress(ClosedError):
                await self._probe()

    async def _probe(self) -> None:
        stream = self._stream
        if stream is None or self._state != "open":
            return
        try:
            await stream.request(self.service, "set", element("renew"), self.settings.timeout)
        except StanzaError as error:
            ours = error_of(error, self.service)
            self._lose(ours if isinstance(ours, ConnectionLostError) else ConnectionLostError(f"{self.service}: {ours}"))
        except (TimeoutError, ConnectionLostError):
            self._lose(ConnectionLostError(f"{self.service} has not answered for {self.settings.timeout:g} s"))

    # Requests.

    async def ask(self, payload: str) -> asyncio.Future[Element]:
        """Write a request, when there is room for one more; the future has the answer, or what `answered` reads."""
        self.check()
        await self._room.acquire()
        try:
            self.check()
            assert self._stream is not None  # noqa: S101  - `check` says so
            future = self._stream.request(self.service, "set", payload)
        except BaseException:
            self._room.release()
            raise
        self._asked[future] = asyncio.get_running_loop().time()
        room = self._room

        def over(done: asyncio.Future[Element]) -> None:
            self._asked.pop(done, None)
            room.release()

        future.add_done_callback(over)
        return future

    async def answered(self, future: asyncio.Future[Element]) -> Element:
        """Wait for an answer; errors are ours."""
        try:
            return await future
        except StanzaError as error:
            ours = error_of(error, self.service)
            if isinstance(ours, NoSessionError) or (isinstance(ours, ConnectionLostError) and error.element is None):
                self._lose(ours)
            raise ours from error
        except TimeoutError:
            error_ = ConnectionLostError(f"{self.service} has not answered")
            self._lose(error_)
            raise error_ from None

    async def call(self, payload: str) -> Element:
        """Ask and wait for the answer."""
        return await self.answered(await self.ask(payload))

    def tell(self, payload: str) -> None:
        """Ask, and wait for no answer: a failure ends the session if it is one of the session's."""
        self._do(self._told(payload), "unimsg xmpp request")

    async def _told(self, payload: str) -> None:
        with contextlib.suppress(UnimsgError):
            await self.call(payload)

    # What arrives.

    def _iq(self, iq: Element) -> None:
        """Answer a request of the service; nobody else has anything to ask."""
        stream = self._stream
        if stream is None:
            return
        kid = iq[0] if len(iq) else None
        name = named(kid) if kid is not None else ""
        if iq.get("from") != self.service or kid is None or name not in ("deliver", "ended"):
            if not self._direct.take_request(iq):
                stream.refuse(iq, "cancel", "service-unavailable")
            return
        receiver = self._receivers.get(kid.get("consumer", ""))
        if receiver is None:
            stream.refuse(iq, "cancel", "item-not-found")
            return
        if name == "ended":
            receiver.fail(failed_of(kid))
            stream.reply(iq)
            return
        try:
            receiver.deliver(kid)
        except (BadRequestError, UnimsgError) as error:
            log.warning("%s: what %s delivered cannot be taken: %s", self.url, self.service, error)
            stream.refuse(iq, "modify", "bad-request")
        else:
            stream.reply(iq)

    def _presence(self, presence: Element) -> None:
        if presence.get("from") == self.service and presence.get("type") in ("unavailable", "error"):
            self._lose(ConnectionLostError(f"the service {self.service} went away"))

    # What the contract wants.

    async def sender(self, destination: Destination[Any] | None) -> ServiceSender:
        """Return a sender; its queue is made, unless the URL says create=require."""
        self.check()
        if destination is not None:
            if destination.is_pattern:
                raise InvalidDestinationError(f"{destination}: a pattern is for listening, not for sending")
            if address_of(destination) is None:
                await self.call(element("submit", {"to": destination}))
        return ServiceSender(self)

    async def send_direct(self, address: str, frames: Sequence[Frame]) -> None:
        """Send straight to an address, past the service."""
        await self._direct.send(address, frames, zlib=self.zlib, limit=self.max_message_bytes)

    async def receiver(self, source: Source, credit: int) -> ServiceReceiver | Inbox:
        """Return a receiver: the service has it, so whatever is sent from now on is seen."""
        self.check()
        destination = source.destination
        if address_of(destination) is not None:
            return await self._direct.receiver(destination, source.overflow)
        if destination.is_temporary and not destination.name.startswith(self.identity.connection_id):
            raise InvalidDestinationError(f"{destination} belongs to another connection: only its own may consume from it")
        self._consumers += 1
        if destination.is_topic and not source.durable and not source.shared:
            source, credit = _within(source, credit)
        receiver = ServiceReceiver(self, f"c{self._consumers}", source, credit)
        self._receivers[receiver.consumer] = receiver  # before it is asked for: its first deliveries may come with the answer
        try:
            await self.call(element("consume", {"consumer": receiver.consumer, **source_attributes(source), "credit": receiver.credit}))
        except asyncio.CancelledError:
            self._do(receiver.close(), "unimsg xmpp cancel")
            raise
        except BaseException:
            self.forget(receiver)
            raise
        return receiver

    def forget(self, receiver: ServiceReceiver) -> None:
        """Take a receiver that was closed off the list: what still arrives for it is sent back."""
        self._receivers.pop(receiver.consumer, None)

    async def commit(self, sends: Sequence[Frame], settlements: Sequence[tuple[Receiver, Sequence[Settlement]]]) -> None:
        """Do all or nothing: one `<commit>`, in parts if it is too long for a stanza."""
        self.check()
        for frame in sends:
            if address_of(frame.route.destination) is not None:
                raise UnsupportedError(f"{frame.route.destination}: what goes straight to an address cannot be part of a transaction", "transaction")
        parts = [payload for _, _, payload in submissions(sends, zlib=self.zlib, limit=self.max_message_bytes, nested=True)]
        here = [(receiver, settled) for receiver, settled in settlements if isinstance(receiver, Inbox)]
        for receiver, settled in settlements:
            if isinstance(receiver, Inbox):
                continue
            if not isinstance(receiver, ServiceReceiver) or receiver.driver is not self:
                raise IllegalStateError("a transaction settles deliveries of its own connection only")
            if receiver.closed:
                raise TransactionRolledBackError("a delivery in this transaction is no longer ours: its receiver was closed")
            parts += [settlement(receiver.consumer, settled[at : at + 5000], nested=True) for at in range(0, len(settled), 5000)]
        self._commits += 1
        name = f"t{self._commits}"
        waiting: list[asyncio.Future[Element]] = []
        start = 0
        while True:
            end, size = start, 0
            while end < len(parts) and (end == start or size + len(parts[end]) < self._stanza // 2):
                size += len(parts[end])
                end += 1
            more = end < len(parts)
            waiting.append(await self.ask(element("commit", {"id": name, "more": more or None}, "".join(parts[start:end]))))
            if not more:
                break
            start = end
        results = await asyncio.gather(*(self.answered(future) for future in waiting), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        for inbox, settled in here:  # what came straight to us is in this process only
            await inbox.settle(settled)

    async def declare(self, destination: Destination[Any]) -> None:
        """Make a queue or a temporary destination of ours."""
        await self.call(element("declare", {"destination": destination}))

    async def delete(self, destination: Destination[Any]) -> None:
        """Remove a queue or a temporary destination. Raises IllegalStateError while it has consumers."""
        await self.call(element("delete", {"destination": destination}))

    async def purge(self, destination: Destination[Any], subscription: str | None = None) -> int:
        """Empty a queue or a subscription; what consumers hold stays theirs."""
        answer = await self.call(element("purge", {"destination": destination, "subscription": subscription}))
        return number(answer[0], "count")

    async def unsubscribe(self, subscription: str) -> None:
        """Remove a durable subscription. Raises IllegalStateError while somebody listens."""
        await self.call(element("unsubscribe", {"subscription": subscription}))

    async def browse(self, destination: Destination[Any], selector: str | None = None) -> AsyncIterator[Frame]:
        """Yield what could be taken now, page by page."""
        payload = element("browse", {"destination": destination, "selector": selector})
        more: str | None = None
        try:
            while True:
                page = (await self.call(payload))[0]
                more = page.get("more")
                for data in unpack(page) if len(page) else ():
                    yield Frame(data, Route(destination))
                if more is None:
                    return
                payload = element("browse", {"more": more})
        finally:
            if more is not None and self._state == "open":
                self.tell(element("browse", {"end": more}))

    async def inspect(self) -> Sequence[DestinationInfo]:
        """Return queues and subscriptions, in order of name."""
        found: list[DestinationInfo] = []
        after: str | None = None
        while True:
            page = (await self.call(element("inspect", {"after": after})))[0]
            found += [_info(kid) for kid in page if named(kid) == "place"]
            after = page.get("more")
            if after is None:
                return found

    async def diagnose(self) -> AsyncIterator[Finding]:
        """Yield findings, from the name of the server to its limits."""
        from unimsg_xmpp.doctor import findings

        async for finding in findings(self.url, self.settings, self._given):
            yield finding

    def is_retryable(self, error: BaseException) -> bool:
        """Tell whether a new try may succeed: our errors say it themselves."""
        return isinstance(error, UnimsgError) and error.retryable

    def error_of(self, error: BaseException) -> BaseException:
        """Return our error for one of XMPP's."""
        return error_of(error, self.service) if isinstance(error, StanzaError) else error

    def native(self) -> object:
        """Return the slixmpp client: its plugins work; what travels by `unimsg` does not pass its handlers."""
        if self._stream is None:
            raise IllegalStateError(f"{self.url}: this driver is not open")
        return self._stream.native


def _within(source: Source, credit: int) -> tuple[Source, int]:
    """Return a live source and its credit so that together they hold no more than the overflow's limit (2 at least)."""
    policy, limit = source.overflow
    credit = max(1, min(credit, limit // 2))
    return source._replace(overflow=Overflow(policy, max(1, limit - credit))), credit


def _info(place: Element) -> DestinationInfo:
    def known(name: str) -> int | None:
        return number(place, name) if place.get(name) is not None else None

    oldest = place.get("oldest")
    return DestinationInfo(
        parse_destination(place.get("destination", "")),
        known("depth"),
        known("in-flight"),
        known("consumers"),
        place.get("subscription"),
        float(oldest) if oldest is not None else None,
    )


def _jid(text: str) -> str:
    try:
        jid = JID(text)
    except InvalidJID as error:
        raise ValueError(text) from error
    if not jid.domain:
        raise ValueError(text)
    return str(jid) if not jid.local or jid.resource else f"{jid}/unimsg"


def _time(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise ValueError(text)
    return value


def _size(text: str) -> int:
    value = int(text)
    if value < 10_000:
        raise ValueError(text)
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise ValueError(text)
    return value
