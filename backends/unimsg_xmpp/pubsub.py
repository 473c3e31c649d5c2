"""The driver of `xmpp://…?service=none`: topics on the server's own pubsub (XEP-0060), and queues that are addresses.

What the server has not, this driver has not: a topic's subscribers are those who are there; nothing is kept, nothing is lent,
and nobody's publisher waits for a slow subscriber. Any XMPP client may read the items, and ours reads theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from unimsg.capabilities import Capabilities, Feature, Limits, Support
from unimsg.destination import Destination, Topic
from unimsg.driver import DestinationInfo, Finding, Frame, Identity, Receiver, Route, Settlement, Source
from unimsg.errors import (
    ClosedError,
    ConnectionFailedError,
    ConnectionLostError,
    IllegalStateError,
    InvalidDestinationError,
    InvalidURLError,
    MessageFormatError,
    PartialSendError,
    UnimsgError,
    UnsupportedError,
)
from unimsg.registry import URL
from unimsg_xmpp import nodes
from unimsg_xmpp.addresses import address_of
from unimsg_xmpp.direct import Direct
from unimsg_xmpp.discovery import features_of, items_of
from unimsg_xmpp.inbox import Inbox
from unimsg_xmpp.protocol import fits
from unimsg_xmpp.settings import settings_of
from unimsg_xmpp.stream import StanzaError, Stream

__all__ = ["PubsubDriver"]

log = logging.getLogger("unimsg")
MAX_MESSAGE_BYTES = 240_000
"""Bytes: ejabberd takes 250,000 of an item's payload, whatever it is configured to."""
UNDER_WAY = 100
"""Items that are published and not answered, at most."""
HEARTBEAT = 15.0
TRIES = 5


def _emulated(note: str) -> Feature:
    return Feature(Support.EMULATED, note)


def _missing(note: str) -> Feature:
    return Feature(Support.UNSUPPORTED, note)


class PubsubDriver:
    """A connection to an XMPP server that has no unimsg service."""

    def __init__(self, url: URL, identity: Identity) -> None:
        """Judge the URL and its options. Raises InvalidURLError."""
        self.url = url
        self.identity = identity
        self.settings = settings_of(url)
        if self.settings.component:
            raise InvalidURLError(f"{url}: who are you? Write xmpp://user@domain")
        url.choice("service", "none")
        self._given = url.option("pubsub", None, str, "the address of the pubsub service; pubsub.DOMAIN, or what the server lists, if not said")
        self._create = url.choice("create", "auto", "require") == "auto"
        self._access = url.choice("access", "open", "whitelist")
        accept = url.option("accept", "", str, "from whom messages to our own address are taken: *@domain, addresses, with commas; our domain if not said")
        most = url.option("max_message_bytes", MAX_MESSAGE_BYTES, int, "bytes that a message may have, more than 0")
        url.finish()
        if most <= 0:
            raise InvalidURLError(f"{url}: max_message_bytes is more than 0")
        self.max_message_bytes = min(most, MAX_MESSAGE_BYTES)
        self.capabilities = Capabilities(
            "topic direct inspect",
            limits=Limits(max_message_bytes=self.max_message_bytes, order="per publisher and topic"),
            queue=_missing(f"a server alone has none: start the service, unimsg serve xmpp://unimsg.{self.settings.domain}, and leave service=none out"),
            topic__pattern=_missing("no server's pubsub has patterns: the service has them"),
            selector__topic=_emulated("here, after the message has travelled"),
            no_local=_emulated("here, by the sender's mark in the envelope"),
            time_to_live=_emulated("here: expired messages are not delivered"),
            individual=_emulated("in this process only: what is released is gone with it"),
            release_delay=_emulated("in this process only"),
            delivery_count=_emulated("in this process only"),
            overflow=_emulated("drop and fail, in this process; a publisher is never held up: with block, a subscription fails at its limit"),
            transaction=_emulated("the sends are confirmed one after the other: a crash in between leaves some"),
        )
        self.pubsub = self._given or ""
        self._stream: Stream | None = None
        self._direct = Direct(self.settings.domain, [rule for rule in accept.split(",") if rule], self.check)
        self._state = "closed"
        self._lost: UnimsgError | None = None
        self._on_lost: Callable[[BaseException], None] | None = None
        self._known: set[str] = set()
        self._inboxes: dict[str, list[Inbox]] = {}
        self._subids: dict[str, str | None] = {}
        self._subscribing: dict[str, asyncio.Lock] = {}
        self._beat: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opened_once = False

    # The connection.

    async def open(self, on_lost: Callable[[BaseException], None]) -> None:
        """Log in, and find pubsub. Raises SecurityError, ConnectionFailedError."""
        if self._state != "closed":
            raise IllegalStateError(f"{self.url}: this driver is open already")
        self._state = "opening"  # and `_lost` stays until this has succeeded: who asks meanwhile must hear that it is lost
        self._known.clear()
        self._inboxes.clear()
        self._subids.clear()
        stream = Stream(self.settings, on_iq=self._iq, on_message=self._message, on_presence=lambda _: None, on_lost=self._broken)
        try:
            await stream.open()
            self.pubsub = self._given or await self._find(stream)
        except BaseException as error:
            self._state = "closed"
            await stream.close()
            if isinstance(error, ConnectionFailedError) and self._opened_once and not isinstance(error, ConnectionLostError):
                raise ConnectionLostError(str(error)) from error
            raise
        self._stream, self._on_lost, self._state, self._opened_once, self._lost = stream, on_lost, "open", True, None
        self._direct.use(stream)
        self._beat = asyncio.get_running_loop().create_task(self._beats(stream), name="unimsg pubsub heartbeat")

    async def _find(self, stream: Stream) -> str:
        """Return the address of pubsub; where there is none, the usual one, which will say so when it is asked."""
        usual = f"pubsub.{self.settings.domain}"
        if nodes.PUBSUB in await features_of(stream, usual):
            return usual
        for jid in (await items_of(stream, self.settings.domain))[:50]:
            if nodes.PUBSUB in await features_of(stream, jid):
                return jid
        return usual

    async def _beats(self, stream: Stream) -> None:
        """Notice a server that is gone without a word."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            try:
                await stream.request(None, "get", '<ping xmlns="urn:xmpp:ping"/>', self.settings.timeout)
            except StanzaError:
                continue
            except (TimeoutError, ConnectionLostError):
                self._broken(ConnectionLostError(f"{self.settings.domain} has not answered for {self.settings.timeout:g} s"))
                return

    async def close(self) -> None:
        """Unsubscribe and disconnect."""
        stream, self._stream = self._stream, None
        was, self._state = self._state, "closed"
        error = ClosedError(f"{self.url}: the connection is closed")
        for inbox in [inbox for inboxes in self._inboxes.values() for inbox in inboxes]:
            inbox.fail(error)
        if self._beat is not None and self._beat is not asyncio.current_task():
            self._beat.cancel()
            await asyncio.gather(self._beat, return_exceptions=True)
            self._beat = None
        if stream is not None:
            try:
                if was == "open":
                    asked = [stream.request(self.pubsub, "set", nodes.unsubscribe(node, stream.jid, subid), 2.0) for node, subid in self._subids.items()]
                    await asyncio.gather(*asked, return_exceptions=True)
            finally:
                await stream.close()
        for task in [task for task in self._tasks if task is not asyncio.current_task()]:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _broken(self, error: BaseException) -> None:
        if self._state != "open":
            return
        lost = self._lost = error if isinstance(error, ConnectionLostError) else ConnectionLostError(f"{self.url}: {error}")
        self._state = "closed"
        for inbox in [inbox for inboxes in self._inboxes.values() for inbox in inboxes]:
            inbox.fail(lost)
        task = asyncio.get_running_loop().create_task(self._part(lost), name="unimsg pubsub loss")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _part(self, error: BaseException) -> None:
        stream, self._stream = self._stream, None
        if self._beat is not None:
            self._beat.cancel()
        if stream is not None:
            await stream.close()
            if self._on_lost is not None:
                asyncio.get_running_loop().call_soon(self._on_lost, error)

    def check(self) -> None:
        """Raise ConnectionLostError or ClosedError unless this is open."""
        if self._state != "open":
            if self._lost is not None:
                raise ConnectionLostError(f"{self.url}: the connection is lost: {self._lost}") from self._lost
            raise ClosedError(f"{self.url}: the connection is closed")

    @property
    def stream(self) -> Stream:
        """Return the stream. Raises ConnectionLostError, ClosedError."""
        self.check()
        assert self._stream is not None  # noqa: S101  - `check` says so
        return self._stream

    # What arrives.

    def _iq(self, iq: Element) -> None:
        if not self._direct.take_request(iq) and self._stream is not None:
            self._stream.refuse(iq, "cancel", "service-unavailable")

    def _message(self, message: Element) -> None:
        if message.get("from") != self.pubsub:  # a stranger's event is no event
            self._direct.take_message(message)
            return
        found = nodes.events(message)
        if found is None:
            return
        node, payloads = found
        for payload in payloads:
            try:
                frame = Frame(nodes.stanza_of(payload, node), Route(Topic(node)))
            except UnimsgError as error:
                log.warning("%s: an item of %s cannot be read: %s", self.url, node, error)
                continue
            for inbox in self._inboxes.get(node, ()):
                inbox.put(frame)

    # Nodes.

    async def _ask(self, payload: str, kind: str = "set") -> Element:
        return await self.stream.request(self.pubsub, kind, payload, self.settings.timeout)

    async def _ensure(self, topic: Destination[Any]) -> None:
        """Make a topic's node, unless it is there. Raises SecurityError, which says who may."""
        node = topic.name
        if node in self._known:
            return
        if not self._create:
            await self._exists(node)
            return
        for attempt in range(1, TRIES + 1):
            try:
                await self._ask(nodes.create(node, self._access))
            except StanzaError as error:
                if error.condition == "conflict" or await self._there(node):
                    break
                # ejabberd fails so when several make one node at once; whoever won, it is there in a moment.
                if error.condition not in ("internal-server-error", "resource-constraint") or attempt == TRIES:
                    raise self._ours(error, f"make the node {node}") from error
                await asyncio.sleep(0.05 * attempt)
            else:
                break
        self._known.add(node)

    async def _there(self, node: str) -> bool:
        from unimsg_xmpp.stream import escape

        try:
            await self._ask(f'<query xmlns="http://jabber.org/protocol/disco#info" node="{escape(node)}"/>', "get")
        except StanzaError:
            return False
        return True

    async def _exists(self, node: str) -> None:
        if not await self._there(node):
            raise InvalidDestinationError(f"{self.pubsub} has no node {node}, and the URL says create=require: declare it first")
        self._known.add(node)

    def _ours(self, error: StanzaError, what: str) -> UnimsgError:
        if error.condition in ("remote-server-not-found", "service-unavailable", "remote-server-timeout"):
            return UnsupportedError(
                f"{self.pubsub} is no pubsub service ({error.text or error.condition}): the server has none, or name it with ?pubsub=", "topic"
            )
        return nodes.forbidden(error, what, self.settings.domain, self.pubsub, f"{self.settings.user}@{self.settings.domain}")

    # What the contract wants.

    async def sender(self, destination: Destination[Any] | None) -> _Sender:
        """Return a sender; its topic's node is made, unless the URL says create=require."""
        self.check()
        if destination is not None:
            self._may_send(destination)
            if destination.is_topic:
                await self._ensure(destination)
        return _Sender(self)

    def _may_send(self, destination: Destination[Any]) -> str | None:
        if destination.is_pattern:
            raise InvalidDestinationError(f"{destination}: a pattern is for listening, not for sending")
        address = address_of(destination)
        if address is None and (not destination.is_topic or destination.is_temporary):
            self.capabilities.require("temporary" if destination.is_temporary else "queue", str(destination))
        return address

    async def send(self, frames: Sequence[Frame]) -> None:
        """Publish items, many under way at once; messages to addresses go straight there."""
        for frame in frames:
            fits(len(frame.data), self.max_message_bytes)
        failures: dict[int, Exception] = {}
        start = 0
        while start < len(frames):
            end = start + 1
            try:
                address = self._may_send(frames[start].route.destination)
                while end < len(frames) and address is not None and frames[end].route.destination == frames[start].route.destination:
                    end += 1
                if address is not None:
                    await self._direct.send(address, frames[start:end], zlib=True, limit=self.max_message_bytes)
                else:
                    end = await self._publish(frames, start, failures)
            except PartialSendError as error:
                failures.update({start + place: each for place, each in error.failures.items()})
            except UnimsgError as error:
                failures.update(dict.fromkeys(range(start, end), error))
            start = end
        if failures:
            raise next(iter(failures.values())) if len(failures) == len(frames) else PartialSendError(failures)

    async def _publish(self, frames: Sequence[Frame], start: int, failures: dict[int, Exception]) -> int:
        """Publish a row of frames to topics; return where it ends."""
        end = start
        asked: list[tuple[int, asyncio.Future[Element]]] = []
        while end < len(frames) and frames[end].route.destination.is_topic and end - start < UNDER_WAY:
            topic = frames[end].route.destination
            try:
                self._may_send(topic)
                await self._ensure(topic)
                asked.append((end, self.stream.request(self.pubsub, "set", nodes.publish(topic.name, frames[end].data), self.settings.timeout)))
            except (UnimsgError, MessageFormatError) as error:
                failures[end] = error
            end += 1
        await self.stream.drain()
        for place, answer in asked:
            try:
                await answer
            except StanzaError as error:
                self._known.discard(frames[place].route.destination.name)
                failures[place] = self._ours(error, f"publish to {frames[place].route.destination.name}")
            except TimeoutError:
                failures[place] = ConnectionLostError(f"{self.pubsub} has not answered for {self.settings.timeout:g} s")
            except UnimsgError as error:
                failures[place] = error
        return end

    async def receiver(self, source: Source, credit: int) -> Inbox:
        """Return a receiver that is subscribed; `credit` bounds nothing, for the server pushes: `overflow` does."""
        del credit
        destination = source.destination
        if address_of(destination) is not None:
            return await self._direct.receiver(destination, source.overflow)
        self.capabilities.require("topic" if destination.is_topic else "queue", str(destination))
        if destination.is_pattern:
            self.capabilities.require("topic.pattern", str(destination))
        node = destination.name
        await self._ensure(destination)
        inbox = Inbox(source.overflow, self.check, lambda inbox: self._unsubscribe(node, inbox))
        async with self._subscribing.setdefault(node, asyncio.Lock()):
            self._inboxes.setdefault(node, []).append(inbox)
            if node not in self._subids:
                try:
                    answer = await self._ask(nodes.subscribe(node, self.stream.jid))
                except BaseException as error:
                    self._inboxes[node].remove(inbox)
                    if isinstance(error, StanzaError):
                        raise self._ours(error, f"subscribe to {node}") from error
                    raise
                found = answer.find(f".//{{{nodes.PUBSUB}}}subscription")
                self._subids[node] = None if found is None else found.get("subid")
        return inbox

    async def _unsubscribe(self, node: str, inbox: Inbox) -> None:
        inboxes = self._inboxes.get(node, [])
        if inbox in inboxes:
            inboxes.remove(inbox)
        if self._state != "open":
            return
        async with self._subscribing.setdefault(node, asyncio.Lock()):
            if not inboxes and node in self._subids:
                subid = self._subids.pop(node)
                with contextlib.suppress(StanzaError, UnimsgError, TimeoutError):
                    await self._ask(nodes.unsubscribe(node, self.stream.jid, subid))

    async def commit(self, sends: Sequence[Frame], settlements: Sequence[tuple[Receiver, Sequence[Settlement]]]) -> None:
        """Send, and then settle: a crash in between repeats, never loses."""
        self.check()
        if sends:
            await self.send(sends)
        for receiver, settled in settlements:
            await receiver.settle(settled)

    async def declare(self, destination: Destination[Any]) -> None:
        """Make a topic's node."""
        self._may_send(destination)
        if destination.is_topic:
            try:
                await self._ask(nodes.create(destination.name, self._access))
            except StanzaError as error:
                if error.condition != "conflict":
                    raise self._ours(error, f"make the node {destination.name}") from error

    async def delete(self, destination: Destination[Any]) -> None:
        """Remove a topic's node; only its owner may."""
        self._may_send(destination)
        try:
            await self._ask(nodes.delete(destination.name))
        except StanzaError as error:
            if error.condition == "item-not-found":
                raise InvalidDestinationError(f"{self.pubsub} has no node {destination.name}") from error
            raise self._ours(error, f"delete the node {destination.name}") from error
        self._known.discard(destination.name)

    async def purge(self, destination: Destination[Any], subscription: str | None = None) -> int:
        """Refuse: nothing is kept that could be purged."""
        raise UnsupportedError(f"{destination}{'' if subscription is None else f' {subscription}'}: pubsub topics keep nothing to purge", "purge")

    async def unsubscribe(self, subscription: str) -> None:
        """Refuse: there are no durable subscriptions."""
        raise UnsupportedError(f"{subscription}: without the service there are no durable subscriptions", "subscription.durable")

    async def browse(self, destination: Destination[Any], selector: str | None = None) -> AsyncIterator[Frame]:
        """Refuse: there is nothing to look at."""
        raise UnsupportedError(f"{destination}{'' if selector is None else f' ({selector})'}: without the service there is nothing to browse", "browse")
        yield  # pragma: no cover

    async def inspect(self) -> Sequence[DestinationInfo]:
        """Return the topics that are nodes here; how many listen is unknown."""
        answer = await self.stream.request(self.pubsub, "get", '<query xmlns="http://jabber.org/protocol/disco#items"/>', self.settings.timeout)
        names = sorted(node for item in answer.iter("{http://jabber.org/protocol/disco#items}item") if (node := item.get("node")))
        found = []
        for name in names:
            with contextlib.suppress(InvalidDestinationError):  # a node of another's may be called anything
                found.append(DestinationInfo(Topic(name)))
        return found

    async def diagnose(self) -> AsyncIterator[Finding]:
        """Yield findings, from the name of the server to its limits."""
        from unimsg_xmpp.doctor import findings

        async for finding in findings(self.url, self.settings, "none"):
            yield finding

    def is_retryable(self, error: BaseException) -> bool:
        """Tell whether a new try may succeed: our errors say it themselves."""
        return isinstance(error, TimeoutError) or (isinstance(error, UnimsgError) and error.retryable)

    def error_of(self, error: BaseException) -> BaseException:
        """Return our error for one of XMPP's."""
        return self._ours(error, "do that") if isinstance(error, StanzaError) else error

    def native(self) -> object:
        """Return the slixmpp client."""
        return self.stream.native


class _Sender:
    """Sends to wherever the routes say."""

    def __init__(self, driver: PubsubDriver) -> None:
        self._driver = driver
        self._closed = False

    async def send(self, frames: Sequence[Frame]) -> None:
        """Return when the server has taken all of them."""
        if self._closed:
            raise ClosedError("the sender is closed")
        await self._driver.send(frames)

    async def close(self) -> None:
        """Send no more."""
        self._closed = True
