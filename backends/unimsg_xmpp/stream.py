"""One XMPP stream by slixmpp, for clients and components: raw writing, requests and answers, nothing in between."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP, ComponentXMPP

from unimsg.errors import ConnectionFailedError, ConnectionLostError, MessageFormatError, SecurityError
from unimsg_xmpp.settings import Settings

__all__ = ["Element", "StanzaError", "Stream", "escape"]

log = logging.getLogger("unimsg")
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&apos;", 9: "&#9;", 10: "&#10;", 13: "&#13;"}


def escape(text: str) -> str:
    """Escape for text and quoted attributes. Raises MessageFormatError for what XML cannot hold."""
    for char in text:
        code = ord(char)
        if (code < 32 and code not in (9, 10, 13)) or 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF):
            raise MessageFormatError(f"the character {char!r} cannot travel in XML")
    return text.translate(_ESCAPES)


class StanzaError(Exception):
    """An `<error/>` that came as an answer (RFC 6120 §8.3)."""

    def __init__(self, condition: str, kind: str, text: str, sender: str, element: Element | None) -> None:
        super().__init__(f"{sender}: {condition}{f': {text}' if text else ''}")
        self.condition = condition
        self.kind = kind
        self.text = text
        self.sender = sender
        self.element = element


def error_in(stanza: Element) -> StanzaError:
    condition, kind, text, own = "undefined-condition", "cancel", "", None
    for kid in stanza:
        if kid.tag.endswith("}error"):
            kind = kid.get("type", kind)
            for part in kid:
                namespace, _, name = part.tag.rpartition("}")
                if namespace[1:] != STANZAS:
                    own = part
                elif name == "text":
                    text = part.text or ""
                else:
                    condition = name
    return StanzaError(condition, kind, text, stanza.get("from", ""), own)


class _Fast:
    """What both kinds of slixmpp stream get: our stanzas taken before slixmpp makes objects of them."""

    unimsg: Stream

    def _spawn_event(self, xml: Element) -> None:
        if self.unimsg.up and self.unimsg.take(xml):
            return
        super()._spawn_event(xml)  # type: ignore[misc]

    def pause_writing(self) -> None:
        self.unimsg.writable.clear()

    def resume_writing(self) -> None:
        self.unimsg.writable.set()

    def reschedule_connection_attempt(self) -> None:
        return None


class _Client(_Fast, ClientXMPP):  # type: ignore[misc]
    pass


class _Component(_Fast, ComponentXMPP):  # type: ignore[misc]
    pass


class Stream:
    """One stream."""

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
        self.settings = settings
        self.on_iq, self.on_message, self.on_presence, self.on_lost = on_iq, on_message, on_presence, on_lost
        self.features, self.identity = tuple(features), identity
        self.namespace = "jabber:component:accept" if settings.component else "jabber:client"
        self.jid = ""
        self.up = False
        self.writable = asyncio.Event()
        self._x: Any = None
        self._asked: dict[str, tuple[str | None, asyncio.Future[Element]]] = {}
        self._n = 0
        self._opened = False

    @property
    def native(self) -> Any:
        return self._x

    async def open(self) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()

        def end(error: Exception) -> None:
            if not started.done():
                started.set_exception(error)

        if settings.component:
            x: Any = _Component(settings.domain, settings.password, settings.host, settings.port or 5347)
        else:
            x = _Client(f"{settings.user}@{settings.domain}" + (f"/{settings.resource}" if settings.resource else ""), settings.password)
            x.enable_direct_tls = settings.tls == "direct"
            x.enable_starttls = settings.tls == "starttls"
            x.enable_plaintext = settings.tls == "off"
            x.plugin["feature_mechanisms"].unencrypted_scram = settings.tls == "off"
            x.plugin["feature_mechanisms"].encrypted_plain = False
            if settings.ca:
                x.ssl_context.load_verify_locations(settings.ca)
            x.ssl_context.verify_mode = ssl.CERT_REQUIRED
        x.unimsg = self
        x.loop = loop
        self._x = x
        self.writable.set()
        x.add_event_handler("session_start", lambda _: started.done() or started.set_result(None))
        x.add_event_handler("failed_auth", lambda _: end(SecurityError(f"{settings.user}@{settings.domain}: wrong password")))
        x.add_event_handler("connection_failed", lambda e: end(self._failed(str(e))))
        x.add_event_handler("ssl_invalid_chain", lambda e: end(SecurityError(f"{settings.domain}: {e}")))
        x.add_event_handler("disconnected", lambda e: (end(self._failed(str(e))), self._lost(e)))
        x.add_event_handler("stream_error", lambda e: end(self._failed(str(e["condition"]))))
        host, port = settings.host, settings.port
        if host and not port:
            port = 5222
        x.connect(host, port)
        try:
            async with asyncio.timeout(settings.timeout):
                await started
        except TimeoutError:
            await self.close()
            raise self._failed("time-out") from None
        except BaseException:
            await self.close()
            raise
        self.jid = str(x.boundjid.full)
        self.up = self._opened = True
        if not settings.component:
            self.send("<presence><priority>-1</priority></presence>")

    def _failed(self, why: str) -> Exception:
        kind = ConnectionLostError if self._opened else ConnectionFailedError
        return kind(f"{self.settings.domain}: {why}")

    def _lost(self, error: object) -> None:
        was, self.up = self.up, False
        self.writable.set()
        asked, self._asked = self._asked, {}
        for _, future in asked.values():
            if not future.done():
                future.set_exception(ConnectionLostError(f"{self.settings.domain}: the stream broke"))
        if was:
            self.on_lost(ConnectionLostError(f"{self.settings.domain}: the stream broke: {error}"))

    def take(self, xml: Element) -> bool:
        tag = xml.tag.rpartition("}")[2]
        try:
            if tag == "iq":
                kind = xml.get("type")
                if kind in ("result", "error"):
                    asked = self._asked.get(xml.get("id", ""))
                    if asked is None or (asked[0] is not None and xml.get("from") != asked[0]):
                        return False
                    del self._asked[xml.get("id", "")]
                    if not asked[1].done():
                        if kind == "result":
                            asked[1].set_result(xml)
                        else:
                            asked[1].set_exception(error_in(xml))
                    return True
                if len(xml) and "disco#info" in xml[0].tag:
                    features = "".join(f'<feature var="{each}"/>' for each in self.features)
                    category, kind, name = self.identity
                    self.reply(
                        xml,
                        f'<query xmlns="http://jabber.org/protocol/disco#info"><identity category="{category}" type="{kind}" name="{name}"/>'
                        f'<feature var="http://jabber.org/protocol/disco#info"/><feature var="urn:xmpp:ping"/>{features}</query>',
                    )
                elif len(xml) and xml[0].tag == "{urn:xmpp:ping}ping":
                    self.reply(xml)
                else:
                    self.on_iq(xml)
                return True
            if tag == "message":
                self.on_message(xml)
                return True
            if tag == "presence":
                self.on_presence(xml)
                return True
        except Exception:
            log.exception("a handler failed")
            return True
        return False

    def request(self, to: str | None, kind: str, payload: str, timeout: float | None = None) -> asyncio.Future[Element]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Element] = loop.create_future()
        self._n += 1
        name = f"u{self._n}"
        self.send(f'<iq type="{kind}" id="{name}"{f" to={chr(34)}{escape(to)}{chr(34)}" if to else ""}{self._from()}>{payload}</iq>')
        self._asked[name] = (to, future)
        if timeout is not None:
            handle = loop.call_later(timeout, lambda: future.done() or future.set_exception(TimeoutError()))
            future.add_done_callback(lambda _: handle.cancel())
        return future

    def _from(self) -> str:
        return f' from="{self.settings.domain}"' if self.settings.component else ""

    def _back(self, iq: Element) -> str:
        own = f' from="{escape(iq.get("to", self.settings.domain))}"' if self.settings.component else ""
        sender = iq.get("from")
        return f' id="{escape(iq.get("id", ""))}"{own}' + (f' to="{escape(sender)}"' if sender else "")

    def reply(self, iq: Element, payload: str = "") -> None:
        self.send(f'<iq type="result"{self._back(iq)}>{payload}</iq>')

    def refuse(self, iq: Element, kind: str, condition: str, text: str = "", application: str = "") -> None:
        said = f'<text xmlns="{STANZAS}">{escape(text)}</text>' if text else ""
        self.send(f'<iq type="error"{self._back(iq)}><error type="{kind}"><{condition} xmlns="{STANZAS}"/>{said}{application}</error></iq>')

    def send(self, stanza: str | bytes) -> None:
        transport = self._x.transport if self._x is not None else None
        if transport is None:
            raise ConnectionLostError(f"{self.settings.domain}: not connected")
        transport.write(stanza.encode() if isinstance(stanza, str) else stanza)

    async def drain(self) -> None:
        await self.writable.wait()

    async def close(self) -> None:
        x, self.up = self._x, False
        self._x = None
        if x is None:
            return
        try:
            if x.transport is not None:
                await x.disconnect(2.0, ignore_send_queue=True)
        finally:
            x.abort()
            x.cancel_connection_attempt()
            if x._run_out_filters is not None:
                x._run_out_filters.cancel()
