"""slixmpp as we use it: its negotiation of TLS, SASL and the resource; not its stanza objects, its queue nor its reconnecting.

XEP-0198 is left out: slixmpp counts stanza objects only, which we do not make, and a session that can be resumed hides a dead
consumer from the service until it times out; our own acknowledgements and resending do what it would.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.xmlstream import NotConnectedError

from unimsg.errors import ConnectionLostError, SecurityError, UnimsgError
from unimsg_xmpp.errors import bind_failed, broken, connect_failed, login_failed, stream_error
from unimsg_xmpp.settings import Settings

__all__ = ["Client", "Component", "Link"]

log = logging.getLogger("unimsg")

_STREAM_ERROR = "{http://etherx.jabber.org/streams}error"
_TLS = "{urn:ietf:params:xml:ns:xmpp-tls}"
_SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
_SCRAM = {f"SCRAM-{digest}{plus}" for digest in ("SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512") for plus in ("", "-PLUS")}
_FLUSH = hasattr(XMLPullParser, "flush")
"""Whether the parser may hold the end of a stanza back for more to come (expat 2.6) unless told not to."""

_ITERATIONS = 1_000_000
"""The most that we compute at a server's word: half a second; usual are 4096 to 10000."""


class Link(ClientXMPP if TYPE_CHECKING else object):  # type: ignore[misc,unused-ignore]
    """What both kinds of slixmpp's streams get from us: each is used for one connection and then thrown away.

    `ready` is done once we are logged in; from then on every stanza goes to `taker`, and `ended` is called once with the reason
    if the stream breaks. `gone` is done once the socket is closed.
    """

    settings: Settings
    where = ""
    xml_depth: int

    def prepare(self, settings: Settings, context: ssl.SSLContext | None, taker: Callable[[Element], bool], begun: Callable[[], None]) -> None:
        """Set what both kinds share; `begun` is called when logged in, before any stanza arrives."""
        loop = asyncio.get_running_loop()
        self.loop = loop
        self.settings = settings
        self.context = context
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.failure: UnimsgError | None = None
        self.ended: Callable[[UnimsgError], None] | None = None
        self.writable: Callable[[bool], None] | None = None
        self.acknowledge: Callable[[], None] | None = None
        self._taker = taker
        self._begun = begun
        self._taking = False
        self._sender: asyncio.Future[None] | None = None
        self._works: set[asyncio.Task[Any]] = set()
        self.whitespace_keepalive = False  # the kernel's keep-alive does it
        self.add_event_handler("session_start", self._start)
        self.init_plugins()

    async def dial(self, host: str, port: int) -> None:
        """Connect the socket, with TLS from the first byte where the URL says so. Raises ConnectionLostError, SecurityError."""
        self.where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        direct = self.settings.tls == "direct"
        if self._sender is None:
            self._sender = self._run_out_filters = asyncio.ensure_future(self.run_filters())
        self._current_connection_attempt = self.loop.create_future()  # slixmpp takes a connection that it does not wait for as unwanted
        try:
            await self.loop.create_connection(
                lambda: self, host, port, ssl=self.context if direct else None, server_hostname=self.settings.domain if direct else None
            )
        except OSError as error:
            raise connect_failed(error, self.settings, self.where) from error

    def _start(self, _: object) -> None:
        if not self.ready.done():
            self._taking = True
            self.ready.set_result(None)
            self._begun()

    def end(self, error: UnimsgError) -> None:
        """Close the stream for a reason, once: whoever waits for the login or was told to be told hears of it."""
        if self.failure is None:
            self.failure = error
            self.cut()
            if not self.ready.done():
                self.ready.set_exception(error)
            elif self.ended is not None:
                self.ended(error)

    def cut(self) -> None:
        """Close the socket now, with a last word if there is room for it."""
        transport = self.transport
        if transport is not None:
            if transport.get_write_buffer_size() == 0 and not transport.is_closing():
                transport.write(self.stream_footer.encode())
            transport.abort()

    async def leave(self, patience: float) -> None:
        """Close the stream in order, waiting for the server at most `patience` seconds; leave nothing of slixmpp's behind."""
        self.ended = None
        try:
            if self._taking and self.failure is None and self.transport is not None and not self.transport.is_closing():
                self.failure = ConnectionLostError(f"{self.settings.domain}: the stream was closed")
                self.transport.write(self.stream_footer.encode())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await asyncio.shield(self.gone)
        finally:
            if self.transport is not None:
                self.transport.abort()
            if not self.ready.done():
                self.ready.cancel()
            works = [*self._works] if self._sender is None else [*self._works, self._sender]
            for work in works:
                work.cancel()
            for handle in self.scheduled_events.values():
                handle.cancel()
            self.scheduled_events.clear()
        await asyncio.gather(*works, return_exceptions=True)
        if self.transport is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.shield(self.gone)

    # What slixmpp and asyncio call.

    def data_received(self, data: bytes | str) -> None:
        """Parse; hand each whole stanza on. Unlike slixmpp's own, it survives anything a handler does."""
        parser = self.parser
        if parser is None:
            return
        if self.acknowledge is not None:
            self.acknowledge()
        depth: int = self.xml_depth
        try:
            parser.feed(data)
            if _FLUSH:
                parser.flush()  # type: ignore[attr-defined,unused-ignore]
            for event, element in parser.read_events():
                if event == "start":
                    if depth == 0:
                        self.xml_root = element  # type: ignore[assignment,unused-ignore]
                        self.start_stream_handler(element)
                    depth += 1
                    continue
                depth -= 1
                if depth == 1:
                    self._spawn_event(element)  # type: ignore[arg-type,unused-ignore]
                    if self.parser is not parser:  # TLS or SASL began the stream anew, or it is over
                        return
                    self.xml_root.clear()
                elif depth == 0:
                    self._stream_closed()
                    return
        except ParseError as error:
            self.end(ConnectionLostError(f"{self.settings.domain}: what {self.where} sends is no XMPP: {error.msg}"))
            return
        self.xml_depth = depth

    def _stream_closed(self) -> None:
        if self.failure is not None and self.transport is not None:  # the answer to our closing
            self.transport.abort()
        self.end(ConnectionLostError(f"{self.settings.domain}: the server closed the stream"))

    def _spawn_event(self, xml: Element) -> None:
        try:
            if self._taking and self._taker(xml):
                return
            if xml.tag == _STREAM_ERROR:
                self.end(stream_error(xml, self.settings))
            elif self._taking or self._negotiated(xml):
                super()._spawn_event(xml)
            if xml.tag == f"{_SASL}success" and not self.authenticated:
                self.end(SecurityError(f"{self.settings.domain}: the server did not prove that it knows the password: it may be another one"))
        except Exception as error:
            log.exception("a stanza could not be handled")
            if not self._taking:  # nothing else would ever wake the one who logs in
                self.end(ConnectionLostError(f"{self.settings.domain}: the login failed: {error!r}"))

    def _negotiated(self, xml: Element) -> bool:
        """Take what slixmpp would try again, or would not notice; return whether it is to have the rest."""
        if xml.tag == f"{_SASL}failure":
            self.end(login_failed(xml, self.settings))
        elif xml.tag == f"{_TLS}failure":
            self.end(SecurityError(f"{self.settings.domain}: the server at {self.where} failed to start TLS"))
        else:
            if xml.tag == f"{_SASL}challenge":
                mechanism: Any = self.plugin["feature_mechanisms"].mech
                if hasattr(mechanism, "Hi"):
                    mechanism.Hi = lambda password, salt, rounds: self._derive(mechanism.hash().name, password, salt, rounds)
            return True
        return False

    def _derive(self, digest: str, password: Any, salt: bytes, rounds: int) -> bytes:
        """Compute SCRAM's Hi (RFC 5802, 2.2) in C; slixmpp's own holds the event loop for a tenth of a second."""
        if not 0 < rounds <= _ITERATIONS:
            self.end(SecurityError(f"{self.settings.domain}: the server asks for {rounds} rounds of SCRAM; at most {_ITERATIONS} are computed"))
            raise ValueError(rounds)
        return hashlib.pbkdf2_hmac(digest, bytes(password), salt, rounds)

    def connection_lost(self, exception: BaseException | None) -> None:
        """Tell those who wait; slixmpp cleans up."""
        super().connection_lost(exception)
        self.end(broken(exception, self.settings, self.where, self._taking))
        if not self.gone.done():
            self.gone.set_result(None)

    def send_raw(self, data: str | bytes) -> None:
        """Write what slixmpp itself has to say; its own method would log it, passwords included."""
        if self.transport is None:
            raise NotConnectedError
        self.transport.write(data.encode() if isinstance(data, str) else data)

    def pause_writing(self) -> None:
        """Hear from the transport that its buffer is full."""
        if self.writable is not None:
            self.writable(False)

    def resume_writing(self) -> None:
        """Hear that there is room again."""
        if self.writable is not None:
            self.writable(True)


class Component(Link, ComponentXMPP):  # type: ignore[misc,unused-ignore]
    """XEP-0114."""


class Client(Link, ClientXMPP):  # type: ignore[misc,unused-ignore]
    """RFC 6120."""

    def prepare(self, settings: Settings, context: ssl.SSLContext | None, taker: Callable[[Element], bool], begun: Callable[[], None]) -> None:
        """Say which TLS and which SASL mechanisms there may be."""
        self.enable_direct_tls = settings.tls == "direct"
        self.enable_starttls = settings.tls == "starttls"
        self.enable_plaintext = settings.tls == "off"
        sasl: Any = self.plugin["feature_mechanisms"]
        sasl.use_mechs = _SCRAM | ({"PLAIN"} if settings.sasl == "plain" else set())
        sasl.encrypted_plain = settings.sasl == "plain"
        sasl.unencrypted_scram = settings.tls == "off"
        self.add_event_handler("failed_all_auth", self._no_mechanism)
        super().prepare(settings, context, taker, begun)

    def _no_mechanism(self, _: object) -> None:
        offered = ", ".join(sorted(self.plugin["feature_mechanisms"].mech_list)) or "nothing"
        hint = "; over TLS, sasl=plain allows PLAIN" if "PLAIN" in offered and self.settings.sasl != "plain" else ""
        self.end(SecurityError(f"{self.settings.domain}: no way to log in that we trust: the server offers {offered}, we want SCRAM{hint}"))

    async def _handle_stream_features(self, features: Any) -> bool | None:
        with self._work():
            if self.settings.tls == "starttls" and "starttls" not in self.features and "starttls" not in features["features"]:
                self.end(SecurityError(f"{self.settings.domain}: the server at {self.where} offers no STARTTLS: without TLS we log in only if told tls=off"))
                return True
            try:
                return await super()._handle_stream_features(features)
            except IqError as error:
                self.end(bind_failed(error.condition, error.text, self.settings))
                return True

    async def start_tls(self) -> bool:
        """Begin TLS on the connection that there is (RFC 6120, 5.4)."""
        transport = self.transport
        if transport is None or self.context is None:
            return False
        with self._work():
            try:
                secured = await self.loop.start_tls(transport, self, self.context, server_hostname=self.settings.domain)
            except OSError as error:
                self.end(connect_failed(error, self.settings, self.where))
                return False
            if secured is None or self.failure is not None:
                return False
            self._current_connection_attempt = self.loop.create_future()
            self.connection_made(secured, send_event=False)
            return True

    @contextlib.contextmanager
    def _work(self) -> Any:
        """Note the running task, which slixmpp started and forgot, for `leave` to end."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (called by coroutines only)
        self._works.add(task)
        try:
            yield
        finally:
            self._works.discard(task)
