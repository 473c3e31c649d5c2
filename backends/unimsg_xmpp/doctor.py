"""What `unimsg doctor xmpp://…` looks at, from the socket to the limits; it changes nothing that it does not undo.

Each finding that is not ok says what mends it, in the lines of configuration of the server that was found.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from xml.etree.ElementTree import Element

from unimsg.driver import Finding
from unimsg.errors import ConnectionLostError, SecurityError, UnimsgError
from unimsg.registry import URL
from unimsg_xmpp import nodes
from unimsg_xmpp.conditions import error_of
from unimsg_xmpp.discovery import features_of, find_service
from unimsg_xmpp.protocol import NAMESPACE, STANZA, element
from unimsg_xmpp.settings import Settings
from unimsg_xmpp.stream import StanzaError, Stream

__all__ = ["findings"]

PINGS = 20
SLOW_PING = 0.05
RATE_PROBE = 40_000
"""Bytes: more than the burst that stock servers grant, and little enough to be over in ten seconds."""
SLOW_RATE = 200_000
SIZES = (60_000, STANZA - 8192, STANZA * 2 - 8192)
VERSION = "jabber:iq:version"
PING = '<ping xmlns="urn:xmpp:ping"/>'

COMPONENT = {
    "prosody": 'Component "{service}"; component_secret = "SECRET" (one line each), then prosodyctl reload',
    "ejabberd": 'under listen: - {{port: 5347, ip: "127.0.0.1", module: ejabberd_service, hosts: {{"{service}": {{password: "SECRET"}}}}}}, '
    "then ejabberdctl reload_config",
}
RATES = {
    "prosody": 'take "limits" out of modules_enabled, or write limits = {{ c2s = {{ rate = "100mb/s" }} }}',
    "ejabberd": "at the listener of clients write shaper: none",
}
NODES = {
    "prosody": 'under Component "{pubsub}" "pubsub" write admins = {{ "{user}" }}',
    "ejabberd": "mod_pubsub: access_createnode: all",
}
LIMITS = {"prosody": "c2s_stanza_size_limit = 1024 * 1024", "ejabberd": "max_stanza_size: 1048576 at the listener"}


class Doctor:
    """One examination; `service` is an address, None to look for it, or `none` where there is to be none."""

    def __init__(self, url: URL, settings: Settings, service: str | None) -> None:
        self.url = url
        self.settings = settings
        self.service = service
        self.kind = ""
        self._stream = self._connection()

    def _connection(self) -> Stream:
        settings = replace(self.settings, resource=f"doctor-{uuid.uuid4().hex[:8]}")
        return Stream(settings, on_iq=_nothing, on_message=_nothing, on_presence=_nothing, on_lost=lambda _: None)

    def _remedy(self, table: dict[str, str], **values: str) -> str:
        values = {"user": f"{self.settings.user}@{self.settings.domain}", **values}
        if self.kind in table:
            return table[self.kind].format(**values)
        return "; ".join(f"{kind}: {line.format(**values)}" for kind, line in table.items())

    async def examine(self) -> AsyncIterator[Finding]:
        """Yield findings, and stop where nothing further can work."""
        start = time.perf_counter()
        try:
            await self._stream.open()
        except UnimsgError as error:
            subject = "login" if isinstance(error, SecurityError) and "password" in str(error) else "TLS" if isinstance(error, SecurityError) else "connection"
            yield Finding("fail", subject, str(error))
            return
        try:
            took = time.perf_counter() - start
            yield Finding(
                "ok", "connection", f"{self.settings.host or self.settings.domain}: connected and logged in as {self._stream.jid} in {took * 1000:.0f} ms"
            )
            yield self._security()
            yield await self._software()
            if self.service != "none":
                async for finding in self._serving():
                    yield finding
            yield await self._pubsub()
        except ConnectionLostError as error:
            yield Finding("fail", "connection", f"lost in the middle: {error}")
            return
        finally:
            await self._stream.close()
        async for finding in self._limits():
            yield finding

    def _security(self) -> Finding:
        tls = self._stream.native.transport.get_extra_info("ssl_object")
        if tls is None:
            return Finding("warn", "TLS", "none: passwords are proved, and all else travels in the clear", "leave tls=off out of the URL")
        cipher = tls.cipher()
        until = (tls.getpeercert() or {}).get("notAfter", "?")
        return Finding(
            "ok", "TLS", f"{tls.version()}, {cipher[0] if cipher else '?'}; the certificate of {self.settings.domain} was verified, and is good until {until}"
        )

    async def _software(self) -> Finding:
        try:
            answer = await self._stream.request(self.settings.domain, "get", f'<query xmlns="{VERSION}"/>', 5.0)
        except (StanzaError, TimeoutError):
            return Finding("ok", "server", "does not say what it is")
        name, version = (answer.findtext(f".//{{{VERSION}}}{part}") or "?" for part in ("name", "version"))
        self.kind = name.lower()
        return Finding("ok", "server", f"{name} {version}")

    async def _serving(self) -> AsyncIterator[Finding]:
        stream = self._stream
        try:
            service = self.service or await find_service(stream, self.settings.domain)
            if NAMESPACE not in await features_of(stream, service):
                raise ConnectionLostError(f"{service} does not answer as an unimsg service")
        except ConnectionLostError as error:
            usual = self.service or f"unimsg.{self.settings.domain}"
            line = self._remedy(COMPONENT, service=usual)
            yield Finding(
                "fail", "service", str(error), f"{line}; then: unimsg serve 'xmpp://:SECRET@{usual}?host=127.0.0.1' --allow '*@{self.settings.domain}'"
            )
            return
        times = []
        for _ in range(PINGS):
            start = time.perf_counter()
            await stream.request(service, "get", PING, 5.0)
            times.append(time.perf_counter() - start)
        median = statistics.median(times)
        yield Finding("ok" if median < SLOW_PING else "warn", "service", f"{service} answers; {median * 1000:.2f} ms to it and back, the median of {PINGS}")
        stream.send(f'<presence to="{service}"/>')
        try:
            await stream.request(service, "set", element("open", {"connection": uuid.uuid4().hex}), 5.0)
            await stream.request(service, "set", element("close"), 5.0)
        except StanzaError as refused:
            ours = error_of(refused, service)
            mend = f"start the service with --allow '{self.settings.user}@{self.settings.domain}', or add a rule to its access list"
            yield Finding("fail", "rights", str(ours), mend if isinstance(ours, SecurityError) else "")
            return
        yield Finding("ok", "rights", f"{service} lets {stream.jid.partition('/')[0]} open a session; what it may do where, its access list says")

    async def _pubsub(self) -> Finding:
        stream, pubsub = self._stream, f"pubsub.{self.settings.domain}"
        if nodes.PUBSUB not in await features_of(stream, pubsub):
            return Finding(
                "ok" if self.service != "none" else "fail",
                "pubsub",
                f"{pubsub} is none",
                "needed by ?service=none only" if self.service != "none" else "name it: ?pubsub=",
            )
        node = f"unimsg-doctor-{uuid.uuid4().hex}"
        try:
            await stream.request(pubsub, "set", nodes.create(node, "open"), 5.0)
            await stream.request(pubsub, "set", nodes.delete(node), 5.0)
        except (StanzaError, TimeoutError) as error:
            why = error.text or error.condition if isinstance(error, StanzaError) else "no answer"
            level = "fail" if self.service == "none" else "warn"
            return Finding(
                level, "pubsub", f"{pubsub}: this account may not make nodes ({why}); only ?service=none needs it", self._remedy(NODES, pubsub=pubsub)
            )
        return Finding("ok", "pubsub", f"{pubsub}: this account may make nodes")

    async def _limits(self) -> AsyncIterator[Finding]:
        """Write more and more; a stanza that is too long closes the stream, so this has one of its own."""
        stream = self._connection()
        try:
            await stream.open()
            rate = await self._rate(stream)
            known = f"{rate / 1000:,.0f} kB/s"
            if rate < SLOW_RATE:
                yield Finding("fail", "rate", f"the server lets {known} of this account pass: too little for messaging", self._remedy(RATES))
                yield Finding("warn", "stanza size", "not tried: at this rate it would take minutes")
                return
            yield Finding("ok", "rate", f"{known} and more")
            passed = 0
            for size in SIZES:
                try:
                    await self._padded(stream, size, 10.0)
                except (ConnectionLostError, TimeoutError) as error:
                    if passed < STANZA - 8192:
                        yield Finding(
                            "fail", "stanza size", f"{passed:,} bytes pass, {size:,} do not ({error})", f"{self._remedy(LIMITS)}, or ?stanza={passed}"
                        )
                        return
                    yield Finding("ok", "stanza size", f"{passed:,} bytes pass, {size:,} do not: the default of the URL's stanza= fits")
                    return
                passed = size
            yield Finding("ok", "stanza size", f"{passed:,} bytes pass; ?stanza={passed} lets messages be larger, if the service's limit is as high")
        except UnimsgError as error:
            yield Finding("warn", "limits", f"not found out: {error}")
        finally:
            await stream.close()

    async def _rate(self, stream: Stream) -> float:
        start = time.perf_counter()
        try:
            for _ in range(RATE_PROBE // 8000):
                await self._padded(stream, 8000, 15.0)
        except TimeoutError:
            return 8000 / 15.0
        return RATE_PROBE / (time.perf_counter() - start)

    @staticmethod
    async def _padded(stream: Stream, size: int, timeout: float) -> None:
        """Ask our own server something long; whatever it answers, it has let it pass."""
        padding = f'<padding xmlns="urn:unimsg:doctor">{"x" * size}</padding>'
        try:
            await stream.request(stream.jid.partition("/")[0], "get", f'<ping xmlns="urn:xmpp:ping">{padding}</ping>', timeout)
        except StanzaError:
            await asyncio.sleep(0)


async def findings(url: URL, settings: Settings, service: str | None) -> AsyncIterator[Finding]:
    """Yield findings about a server and its service; takes a second, and up to twenty on a server that slows clients down."""
    async for finding in Doctor(url, settings, service).examine():
        yield finding


def _nothing(stanza: Element) -> None:
    """Listen to nobody."""
