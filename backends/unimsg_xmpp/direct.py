"""Queues that are addresses: `Queue("xmpp:bob@example.org")` is a message straight to a person or a program.

Whoever speaks only RFC 6121 gets a `<message/>` with a body that people can read, and the envelope beside it. A program that
uses unimsg, addressed by its full JID, gets `<submit>` requests (docs/xmpp-service.md §4.2), packed, and answers when it has
them in its bounded inbox: that is the fast way from one to one, and it has back-pressure. Nothing is kept on a disk.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element

from unimsg import wire
from unimsg.destination import Destination, Queue
from unimsg.driver import Delivery, Frame, Overflow, Route
from unimsg.errors import InvalidDestinationError, MessageFormatError, PartialSendError, UnimsgError
from unimsg_xmpp.addresses import SCHEME, address_of
from unimsg_xmpp.conditions import failure_of, refusal_of
from unimsg_xmpp.discovery import features_of
from unimsg_xmpp.errors import StanzaError, stanza_error
from unimsg_xmpp.inbox import Inbox
from unimsg_xmpp.protocol import NAMESPACE, element, named, unpack
from unimsg_xmpp.sending import submissions
from unimsg_xmpp.stream import Stream, escape

__all__ = ["FEATURE", "FROM", "Direct"]

FEATURE = f"{NAMESPACE}#direct"
FROM = "JMS_unimsg_from"
"""The property that says who sent a message that came as one: the address that the server has stamped."""
INBOX = 1000
"""Messages that may wait here before their senders' answers do."""
FLOOD = 20_000
"""Messages beyond which a sender who does not wait for answers is refused."""
_ENVELOPE = f"{{{wire.NAMESPACE}}}envelope"
_OPEN, _CLOSE = '<message xmlns="jabber:client" type="normal">', "</message>"


class Direct:
    """What goes straight to addresses, and what comes straight to ours."""

    def __init__(self, domain: str, accept: Sequence[str], check: Callable[[], None]) -> None:
        """Take our domain, from whom messages are accepted (`*@domain`, addresses; our own domain if none), and what raises when we are not connected."""
        self._accept = tuple(accept) or (f"*@{domain}",)
        self._check = check
        self._stream: Stream | None = None
        self._kinds: dict[str, bool] = {}
        self._inboxes: list[Inbox] = []
        self._left: list[Delivery] = []
        self._next = 0
        self._bounced: dict[str, StanzaError | None] = {}

    def use(self, stream: Stream) -> None:
        """Work on a stream that was opened."""
        self._stream = stream
        self._kinds.clear()
        self._inboxes.clear()
        self._bounced.clear()

    @property
    def stream(self) -> Stream:
        """Return the stream. Raises what the connection raises when there is none."""
        self._check()
        assert self._stream is not None  # noqa: S101  - `check` says so
        return self._stream

    # Sending.

    async def send(self, to: str, frames: Sequence[Frame], *, zlib: bool, limit: int) -> None:
        """Send to one address; return when it has them (unimsg), or when its server has taken them. Raises InvalidDestinationError, PartialSendError."""
        if await self._speaks(to):
            await self._submit(to, frames, zlib=zlib, limit=limit)
        else:
            await self._message(to, frames)

    async def _speaks(self, to: str) -> bool:
        if "/" not in to:
            return False
        known = self._kinds.get(to)
        if known is None:
            known = self._kinds[to] = FEATURE in await features_of(self.stream, to)
        return known

    async def _submit(self, to: str, frames: Sequence[Frame], *, zlib: bool, limit: int) -> None:
        stream = self.stream
        asked = []
        failures: dict[int, Exception] = {}
        for first, count, payload in submissions(frames, zlib=zlib, limit=limit):
            asked.append((first, count, stream.request(to, "set", payload)))
            await stream.drain()
        for first, count, answer in asked:
            try:
                await answer
            except StanzaError as error:
                self._kinds.pop(to, None)
                failures.update(dict.fromkeys(range(first, first + count), _unreachable(to, error)))
        _raise(failures, len(frames))

    async def _message(self, to: str, frames: Sequence[Frame]) -> None:
        """Send messages, and after them a question that the server answers: what bounces has bounced by then (RFC 6120 §10.1)."""
        stream = self.stream
        names = []
        for frame in frames:
            name = f"m{uuid.uuid4().hex}"
            names.append(name)
            self._bounced[name] = None
            stream.send(f'<message to="{escape(to)}" id="{name}" type="chat"><body>{escape(_projection(frame))}</body>{_envelope(frame)}</message>')
        try:
            await stream.drain()
            with contextlib.suppress(StanzaError):  # that nobody is there, or that it does not know pings, is an answer too
                await stream.request(to.partition("/")[0], "get", '<ping xmlns="urn:xmpp:ping"/>', stream.settings.timeout)
            failures = {place: _unreachable(to, error) for place, name in enumerate(names) if (error := self._bounced[name]) is not None}
        finally:
            for name in names:
                self._bounced.pop(name, None)
        _raise(failures, len(frames))

    # Receiving.

    async def receiver(self, destination: Destination[Any], overflow: Overflow) -> Inbox:
        """Return a receiver of what comes to our own address. Raises InvalidDestinationError for another's."""
        stream, address = self.stream, address_of(destination)
        if address not in (stream.jid, stream.jid.partition("/")[0]):
            raise InvalidDestinationError(f"{destination} is another's: ours is {SCHEME}{stream.jid}")
        inbox = Inbox(Overflow(overflow.policy, min(overflow.limit, INBOX)), self._check, self._closed)
        self._inboxes.append(inbox)
        if len(self._inboxes) == 1:
            stream.features = (FEATURE,)
            stream.send("<presence><priority>0</priority></presence>")  # or no message to the bare address would come to us
        left, self._left = self._left, []
        for delivery in left:
            inbox.put(delivery.frame)
        return inbox

    def _closed(self, inbox: Inbox) -> None:
        if inbox not in self._inboxes:
            return
        self._inboxes.remove(inbox)
        self._left = inbox.left()[:INBOX]
        if not self._inboxes and self._stream is not None:
            self._stream.features = ()
            with contextlib.suppress(UnimsgError):
                self._stream.send("<presence><priority>-1</priority></presence>")
        elif self._inboxes:
            left, self._left = self._left, []
            for delivery in left:
                self._inboxes[0].put(delivery.frame)

    def _inbox(self) -> Inbox:
        """Return the next inbox: several receivers of our address compete."""
        self._next += 1
        return self._inboxes[self._next % len(self._inboxes)]

    def _accepts(self, sender: str) -> bool:
        bare = sender.partition("/")[0]
        return any(rule == bare or (rule.startswith("*@") and bare.endswith(rule[1:])) or rule == "*" for rule in self._accept)

    def take_message(self, message: Element) -> None:
        """Take a message that somebody has sent us, or the bounce of one of ours."""
        sender, kind = message.get("from", ""), message.get("type", "normal")
        if kind == "error":
            name = message.get("id", "")
            if name in self._bounced:
                self._bounced[name] = stanza_error(message)
            return
        if kind not in ("normal", "chat") or not self._inboxes or not self._accepts(sender) or self._stream is None:
            return
        to = Queue(f"{SCHEME}{self._stream.jid.partition('/')[0]}")
        data = self._stanza(message, sender, to)
        if data is not None:
            inbox = self._inbox()
            if inbox.full:
                self._stream.send(
                    f'<message type="error" to="{escape(sender)}" id="{escape(message.get("id", ""))}"><error type="wait">'
                    '<resource-constraint xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>'
                )
            else:
                inbox.put(Frame(data, Route(to)))

    def _stanza(self, message: Element, sender: str, to: Destination[Any]) -> bytes | None:
        from unimsg.wire.amend import amend

        envelope = message.find(_ENVELOPE)
        try:
            if envelope is not None:
                return amend(wire.encode(wire.decode_element(envelope)), (), {FROM: sender})
            body = next((kid.text for kid in message if kid.tag.endswith("}body") and kid.tag.startswith("{jabber:")), None)
            if body is None:
                return None  # a chat state, a receipt: nothing that was said
            head = {"destination": str(to), "id": f"ID:{uuid.uuid4().hex}", "timestamp": datetime.now(UTC)}
            return wire.encode_parts(head, {FROM: sender}, "text", body)
        except MessageFormatError:
            return None

    def take_request(self, iq: Element) -> bool:
        """Take a `<submit>` of another unimsg program; tell whether it was one for us."""
        kid = iq[0] if len(iq) == 1 else None
        stream = self._stream
        if kid is None or stream is None or named(kid) != "submit" or iq.get("type") != "set" or not self._inboxes:
            return False
        if not self._accepts(iq.get("from", "")):
            stream.refuse(iq, "auth", "not-authorized")
            return True
        inbox = self._inbox()
        to = Queue(f"{SCHEME}{stream.jid}")
        try:
            frames = unpack(kid)
        except MessageFormatError as error:
            stream.refuse(iq, *refusal_of(error))
            return True
        if len(inbox) + len(frames) > FLOOD:
            stream.refuse(iq, "wait", "resource-constraint", "too much was sent without waiting for answers")
            return True
        failures = []
        for place, data in enumerate(frames):
            try:
                wire.decode(data)
            except MessageFormatError as error:
                failures.append(failure_of(place, error))
            else:
                inbox.put(Frame(data, Route(to)), soft=True)
        answer = element("submitted", None, "".join(failures))

        def reply() -> None:
            with contextlib.suppress(UnimsgError):
                stream.reply(iq, answer)

        inbox.when_room(reply)
        return True


def _envelope(frame: Frame) -> str:
    text = str(frame.data, "utf-8")
    if text.startswith(_OPEN) and text.endswith(_CLOSE):
        return text[len(_OPEN) : -len(_CLOSE)]
    return ""


def _projection(frame: Frame) -> str:
    """Return what a person reads: the text, or what comes nearest to it."""
    try:
        body = wire.decode(frame.data).body
    except MessageFormatError:
        return frame.data.decode("utf-8", "replace")[:1000]
    text = body if isinstance(body, str) else "" if body is None else repr(body)
    return "".join(char if char in "\t\n" or char.isprintable() else " " for char in text)


def _unreachable(to: str, error: StanzaError) -> UnimsgError:
    return InvalidDestinationError(f"{to}: {error.text or error.condition}")


def _raise(failures: Mapping[int, Exception], count: int) -> None:
    if failures:
        raise next(iter(failures.values())) if len(failures) == count else PartialSendError(failures)
