"""One XMPP stream, of an account or of a component: raw writing, requests and their answers, incoming stanzas as XML elements."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from unimsg.errors import ConnectionFailedError, ConnectionLostError, IllegalStateError, MessageFormatError, UnimsgError
from unimsg_xmpp.errors import STANZAS, StanzaError, StreamError, stanza_error
from unimsg_xmpp.settings import Settings
from unimsg_xmpp.stream_answers import answer_of
from unimsg_xmpp.stream_dial import addresses_of, context_of
from unimsg_xmpp.stream_slixmpp import Client, Component, Link
from unimsg_xmpp.stream_text import escape

__all__ = ["Element", "StanzaError", "Stream", "StreamError", "escape"]

log = logging.getLogger("unimsg")

GOODBYE = 2.0
"""Seconds that a server has to answer the end of a stream."""

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A peer that is gone without a word is noticed after two minutes, by the kernel (RFC 6120, 4.6.1 leaves the means to us)."""

Asked = tuple[str | None, asyncio.Future[Element]]


class Stream:
    """A stream that is opened, used, closed, and may be opened again.

    The callbacks are called as stanzas arrive and must not wait: `on_iq` for requests that the stream does not answer itself,
    `on_message`, `on_presence`; what they raise is logged. `on_lost` is called once if the stream breaks while it is open.
    `features` and `identity` (category, type, name) are what XEP-0030 tells others of us.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_iq: Callable[[Element], None],
        on_message: Callable[[Element], None],
        on_presence: Callable[[Element], None],
        on_lost: Callable[[BaseException], None],
        features: Sequence[str] = (),
        identity: tuple[str, str, str] = ("client", "bot", "unimsg"),
    ) -> None:
        """Do no I/O."""
        self.settings = settings
        self.features = tuple(features)
        self.identity = identity
        self.namespace = "jabber:component:accept" if settings.component else "jabber:client"
        self.jid = ""
        self._on_iq, self._on_message, self._on_presence, self._on_lost = on_iq, on_message, on_presence, on_lost
        self._iq, self._message, self._presence = (f"{{{self.namespace}}}{name}" for name in ("iq", "message", "presence"))
        self._own: frozenset[str | None] = frozenset()
        self._link: Link | None = None
        self._write: Callable[[bytes], None] | None = None
        self._context: ssl.SSLContext | None = None
        self._why: UnimsgError | None = None
        self._opened = False
        self._asked: dict[str, Asked] = {}
        self._prefix = secrets.token_hex(4)
        self._number = 0
        self._room = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Stream {self.jid or self.settings.domain} {'open' if self.up else 'closed'}>"

    @property
    def up(self) -> bool:
        """Tell whether the stream is open."""
        return self._write is not None

    @property
    def native(self) -> Any:
        """Return slixmpp's object, None while closed. What it sends as stanza objects works; what arrives it sees only as answers."""
        return self._link

    # -- its life

    async def open(self) -> None:
        """Connect, log in, bind; an account is then present with priority -1, so that its owner's mail does not come here.

        Raises SecurityError, IllegalStateError (already open; the resource or component is in use), and ConnectionFailedError,
        which is a ConnectionLostError, and retryable, once the stream has been open before.
        """
        if self._link is not None:
            raise IllegalStateError(f"{self!r} is open already")
        try:
            try:
                async with asyncio.timeout(self.settings.timeout):
                    await self._connect()
            except TimeoutError:
                raise ConnectionLostError(f"{self.settings.domain}: no answer from {self._place()} within {self.settings.timeout:g} s") from None
        except BaseException as error:
            await self.close()
            if isinstance(error, ConnectionLostError) and not self._opened:
                failed = ConnectionFailedError(str(error))
                failed.native = error.native
                raise failed from error
            raise

    def _place(self) -> str:
        return (self._link.where if self._link is not None else "") or self.settings.host or self.settings.domain

    async def _connect(self) -> None:
        if self._context is None:
            self._context = context_of(self.settings)
        link = self._link = self._make()
        places = await addresses_of(self.settings)
        for left in range(len(places), 0, -1):
            try:
                async with asyncio.timeout(self.settings.timeout / len(places)):
                    await link.dial(*places[-left])
                break
            except (ConnectionLostError, TimeoutError) as error:
                if left == 1:
                    raise
                log.debug("%s: trying the next place: %s", self.settings.domain, error)
        await link.ready
        self._keep_alive(link)

    def _make(self) -> Link:
        settings = self.settings
        link: Link
        if settings.component:
            link = Component(  # type: ignore[no-untyped-call]
                settings.domain, settings.password or "", settings.host, settings.port
            )
        else:
            resource = f"/{settings.resource}" if settings.resource else ""
            link = Client(JID(f"{settings.user}@{settings.domain}{resource}"), settings.password or "", ssl_context=self._context)
        link.prepare(settings, self._context, self._take, self._begin)
        return link

    def _begin(self) -> None:
        """Go up, in the moment of the login: what arrives next is ours."""
        link = self._link
        assert link is not None  # noqa: S101  (it calls us)
        self.jid = link.boundjid.full
        self._own = frozenset((None, link.boundjid.full, link.boundjid.bare, link.boundjid.domain))
        self._why = None
        self._room.set()
        self._write = link.transport.write  # type: ignore[union-attr,unused-ignore]
        link.writable = self._writable
        link.ended = self._lose
        self._opened = True
        if not self.settings.component:
            self.send("<presence><priority>-1</priority></presence>")

    def _keep_alive(self, link: Link) -> None:
        raw = link.transport.get_extra_info("socket") if link.transport is not None else None
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):
                    raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            # Stock Prosody writes with Nagle's algorithm: its second small packet waits until we acknowledge the first,
            # which a kernel delays by 40 ms (1,350 messages/s instead of many thousand). So acknowledge at once.
            quick = getattr(socket, "TCP_QUICKACK", None)
            if quick is not None:

                def acknowledge() -> None:
                    with contextlib.suppress(OSError):
                        raw.setsockopt(socket.IPPROTO_TCP, quick, 1)

                link.acknowledge = acknowledge

    async def close(self) -> None:
        """Close in order, waiting for the server two seconds at most; what was asked ends with ConnectionLostError. Again: nothing."""
        link, self._link = self._link, None
        self._down(ConnectionLostError(f"{self.settings.domain}: the stream was closed"))
        if link is not None:
            await link.leave(GOODBYE)

    def _lose(self, error: UnimsgError) -> None:
        self._down(error)
        self._call(self._on_lost, error)

    def _down(self, error: UnimsgError) -> None:
        self._write = None
        self._why = self._why or error
        self._room.set()
        asked, self._asked = self._asked, {}
        for _, future in asked.values():
            if not future.done():
                future.set_exception(ConnectionLostError(str(error)))
                future.exception()  # whoever asked and went away need not hear of it

    # -- out

    def send(self, stanza: str | bytes) -> None:
        """Write as it is, at once; nothing is escaped here. Raises ConnectionLostError when the stream is down."""
        write = self._write
        if write is None:
            raise self._lost()
        try:
            write(stanza.encode() if isinstance(stanza, str) else stanza)
        except UnicodeEncodeError as error:
            raise MessageFormatError(f"a surrogate at position {error.start} cannot travel: escape() refuses such text") from None

    async def drain(self) -> None:
        """Wait while the transport's buffer is full. Raises ConnectionLostError when the stream is down, or goes down meanwhile."""
        await self._room.wait()
        if self._write is None:
            raise self._lost()

    def _writable(self, yes: bool) -> None:
        if yes:
            self._room.set()
        else:
            self._room.clear()

    def _lost(self) -> ConnectionLostError:
        return ConnectionLostError(str(self._why) if self._why else f"{self.settings.domain}: the stream is not open")

    def request(self, to: str | None, kind: str, payload: str, timeout: float | None = None) -> asyncio.Future[Element]:
        """Send a request (`kind` get or set), at once; return the answering `<iq/>`, to come. `timeout` in seconds.

        The future raises StanzaError, ConnectionLostError, TimeoutError. Only who was asked can answer (RFC 6120, 8.1.2.1).
        """
        loop = asyncio.get_running_loop()
        self._number += 1
        name = f"{self._prefix}{self._number}"
        address = f' to="{escape(to)}"' if to is not None else ""
        sender = f' from="{self.settings.domain}"' if self.settings.component else ""
        self.send(f'<iq type="{kind}" id="{name}"{address}{sender}>{payload}</iq>')
        future: asyncio.Future[Element] = loop.create_future()
        self._asked[name] = to, future
        timer = loop.call_later(timeout, self._time_out, future, to, timeout) if timeout is not None else None

        def forget(_: object) -> None:
            self._asked.pop(name, None)
            if timer is not None:
                timer.cancel()

        future.add_done_callback(forget)
        return future

    def _time_out(self, future: asyncio.Future[Element], to: str | None, timeout: float) -> None:
        if not future.done():
            future.set_exception(TimeoutError(f"{to or self.settings.domain} did not answer within {timeout:g} s"))

    def reply(self, iq: Element, payload: str = "") -> None:
        """Answer a request with a result."""
        self.send(f'<iq type="result"{self._back(iq)}>{payload}</iq>')

    def refuse(self, iq: Element, kind: str, condition: str, text: str = "", application: str = "") -> None:
        """Answer a request with an error (RFC 6120, 8.3); `application` is the XML of an own condition."""
        said = f'<text xmlns="{STANZAS}">{escape(text)}</text>' if text else ""
        self.send(f'<iq type="error"{self._back(iq)}><error type="{kind}"><{condition} xmlns="{STANZAS}"/>{said}{application}</error></iq>')

    def _back(self, iq: Element) -> str:
        asker = iq.get("from")
        to = f' to="{escape(asker)}"' if asker is not None else ""
        sender = f' from="{escape(iq.get("to") or self.settings.domain)}"' if self.settings.component else ""
        return f' id="{escape(iq.get("id", ""))}"{to}{sender}'

    # -- in

    def _take(self, stanza: Element) -> bool:
        """Take a stanza; return whether it was ours to take. Handlers' errors end here."""
        tag = stanza.tag
        if self.settings.component and tag.startswith("{jabber:client}"):
            tag = stanza.tag = f"{{{self.namespace}}}{tag[15:]}"
        if tag == self._iq:
            kind = stanza.get("type")
            if kind in ("result", "error"):
                return self._answered(stanza, kind == "result")
            self._asked_us(stanza)
        elif tag == self._message:
            self._call(self._on_message, stanza)
        elif tag == self._presence:
            self._call(self._on_presence, stanza)
        else:
            return False
        return True

    def _answered(self, answer: Element, good: bool) -> bool:
        name = answer.get("id", "")
        asked = self._asked.get(name)
        if asked is None:
            return name.startswith(self._prefix)  # too late, or not ours but slixmpp's
        to, future = asked
        sender = answer.get("from")
        if sender != to and not self._is_from(sender, to):
            log.warning("%s: an answer to a request to %s came from %s: ignored", self.jid, to, sender)
        elif not future.done():
            del self._asked[name]
            if good:
                future.set_result(answer)
            else:
                future.set_exception(stanza_error(answer))
        return True

    def _is_from(self, sender: str | None, asked: str | None) -> bool:
        """Tell whether an address is the one that was asked; nobody's name is our account's, or the server's (RFC 6120, 8.1.2.1)."""
        try:
            known = None if sender is None else JID(sender).full
            if asked is None:
                return known in self._own
            wanted = JID(asked)
        except InvalidJID:
            return False
        return known == wanted.full if known is not None else not self.settings.component and wanted.full == JID(self.jid).bare

    def _asked_us(self, iq: Element) -> None:
        try:
            if iq.get("type") not in ("get", "set") or len(iq) != 1 or not iq.get("id"):  # RFC 6120, 8.2.3
                self.refuse(iq, "modify", "bad-request", "a request is of type get or set, with an id and one child")
                return
            payload = answer_of(iq, self.features, self.identity)
            if isinstance(payload, str):
                self.reply(iq, payload)
            elif payload is not None:
                self.refuse(iq, *payload)
            else:
                self._on_iq(iq)
        except ConnectionLostError:
            log.debug("%s: the stream broke before an answer could be sent", self.jid)
        except Exception:
            log.exception("%s: a request could not be handled", self.jid)
            if self._write is not None:
                self.refuse(iq, "wait", "internal-server-error")

    def _call(self, handler: Callable[[Any], None], argument: object) -> None:
        try:
            handler(argument)
        except Exception:
            log.exception("%s: a handler failed", self.jid)
