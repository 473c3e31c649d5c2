"""The service: one stream to the XMPP server, and a session for each client that opens one.

    starting ──(alone?)──> serving ──stream lost──> starting …      every session ends with its stream
                              │
                              └──stop──> stopped

Behind it is any unimsg broker that one process may open many times: `sqlite:///file`, or `memory://name`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
import time
import uuid
from dataclasses import replace
from xml.etree.ElementTree import Element

from unimsg.driver import Driver, Identity
from unimsg.errors import ConnectionLostError, InvalidClientIDError, ResourceAllocationError, SecurityError, UnimsgError
from unimsg.registry import URL, make_driver
from unimsg.wire import NAMESPACE as ENVELOPES
from unimsg_xmpp.conditions import NoSessionError, refusal_of
from unimsg_xmpp.protocol import CREDIT, LEASE, NAMESPACE, STANZA, BadRequestError, element, named, seconds
from unimsg_xmpp.service.access import Access, bare_of
from unimsg_xmpp.service.alone import AnotherServiceError, Probes, ask_before, lock
from unimsg_xmpp.service.limits import Limits
from unimsg_xmpp.service.session import Session
from unimsg_xmpp.settings import settings_of
from unimsg_xmpp.stream import Stream, escape

__all__ = ["FEATURES", "Limits", "Service"]

log = logging.getLogger("unimsg")
FEATURES = (ENVELOPES, NAMESPACE, f"{NAMESPACE}#zlib")
SWEEP = 1.0
STUBBORN = 3
"""Times in a row that another service is met after a loss, before this one leaves it the address."""
_CONNECTION = re.compile(r"[0-9A-Za-z_-]{8,64}")


class Service:
    """Serve a store to the clients of an XMPP server."""

    def __init__(self, url: URL | str, store: str, access: Access, *, lease: float = LEASE, limits: Limits = Limits()) -> None:  # noqa: B008  - immutable
        """Take where to serve (a component's or an account's URL), the URL of the store, and who may do what. Raises InvalidURLError."""
        parsed = URL(url) if isinstance(url, str) else url
        self.settings = settings_of(parsed)
        parsed.finish()
        if not self.settings.component and self.settings.resource is None:
            self.settings = replace(self.settings, resource="unimsg")
        self.url = parsed
        self._access = access
        self.limits = limits
        self._store = store
        self._lease = lease
        self._sessions: dict[str, Session] = {}
        self._ended: set[asyncio.Task[None]] = set()
        self._serving = False
        self._lost: asyncio.Future[BaseException] | None = None
        self._main: asyncio.Task[None] | None = None
        self._lock: int | None = None
        self._entering = asyncio.Lock()
        self._openings: dict[str, asyncio.Task[None]] = {}
        self.stream = Stream(
            self.settings,
            on_iq=self._iq,
            on_message=lambda _: None,
            on_presence=self._presence,
            on_lost=self._broken,
            features=FEATURES,
            identity=("component", "unimsg", "unimsg"),
        )

        self._probes = Probes(self.stream, self.settings.domain)

    @property
    def jid(self) -> str:
        """Return the address of the service: the component's domain, or the account's full JID."""
        return self.stream.jid

    @property
    def sessions(self) -> int:
        """Return how many sessions there are."""
        return len(self._sessions)

    @property
    def access(self) -> Access:
        """Return the access list."""
        return self._access

    @access.setter
    def access(self, access: Access) -> None:
        """Take another access list: sessions and consumers that it does not allow end."""
        self._access = access
        for jid, session in list(self._sessions.items()):
            if access.knows(bare_of(jid)):
                session.permit(access)
            else:
                self._dismiss(session, "it was taken off the access list")

    # Life.

    async def start(self) -> None:
        """Serve, once this returns. Raises IllegalStateError if another service is there, SecurityError, ConnectionFailedError, StoreError."""
        self._lock = lock(self._store)
        try:
            await self._try_store()
            await self._enter()
        except BaseException:
            await self.stream.close()
            self._unlock()
            raise
        self._main = asyncio.get_running_loop().create_task(self._run(), name="unimsg xmpp service")

    async def _try_store(self) -> None:
        driver = make_driver(self._store, Identity(uuid.uuid4().hex))
        await driver.open(lambda _: None)
        await driver.close()

    async def _enter(self) -> None:
        self._lost = asyncio.get_running_loop().create_future()
        if not self.settings.component:
            await ask_before(self.settings)
        await self.stream.open()
        if self.settings.component:
            await self._probes.ask()
        self._serving = True
        log.info("serving at %s", self.jid)

    async def _run(self) -> None:
        assert self._lost is not None  # noqa: S101  - `start` has set it
        while True:
            sweeping = asyncio.get_running_loop().create_task(self._sweep(), name="unimsg xmpp leases")
            try:
                error = await self._lost
            finally:
                sweeping.cancel()
            self._serving = False
            log.warning("%s: the stream to the server is lost: %s", self.url, error)
            await self._end_all()
            delay, met = 0.2, 0
            while True:
                await self.stream.close()
                await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311  - spreads, guards nothing
                delay = min(delay * 2, 10.0)
                try:
                    await self._enter()
                    break
                except SecurityError:
                    raise
                except AnotherServiceError as other:
                    met += 1
                    if met >= STUBBORN:
                        raise
                    log.warning("%s", other)
                except UnimsgError as again:
                    log.warning("%s: %s", self.url, again)

    async def wait(self) -> None:
        """Wait until the service ends by itself, which it does only for a reason that no retry mends; raise that."""
        if self._main is not None:
            await asyncio.shield(self._main)

    async def stop(self) -> None:
        """Tell every client, give everything back, and leave."""
        self._serving = False
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
            self._main = None
        with contextlib.suppress(UnimsgError):
            for jid in self._sessions:
                self.stream.send(f'<presence type="unavailable"{self._own} to="{escape(jid)}"/>')
        await self._end_all()
        await self.stream.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _own(self) -> str:
        return f' from="{self.settings.domain}"' if self.settings.component else ""

    async def _end_all(self) -> None:
        openings = list(self._openings.values())
        for task in openings:
            task.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
        for session in list(self._sessions.values()):
            self._end(session, "the service's stream ended")
        while self._ended:
            await asyncio.wait(list(self._ended))

    def _broken(self, error: BaseException) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP, self._lease / 4))
            now = time.monotonic()
            for session in list(self._sessions.values()):
                if session.lapse(now):
                    self._end(session, f"nothing was heard of it for {session.lease:g} s")

    # What arrives.

    def _presence(self, presence: Element) -> None:
        jid, kind = presence.get("from", ""), presence.get("type")
        if kind in ("unavailable", "error"):
            session = self._sessions.get(jid)
            if session is not None:
                self._end(session, "it went away")
            opening = self._openings.get(jid)
            if opening is not None:
                opening.cancel()
            if "/" not in jid:
                for full, each in list(self._sessions.items()):
                    if kind == "unavailable" and bare_of(full) == jid:
                        self._end(each, "its account went away")

    def _iq(self, iq: Element) -> None:
        kid = iq[0] if len(iq) == 1 else None
        name = named(kid) if kid is not None else ""
        if kid is None or not name:
            self.stream.refuse(iq, "cancel", "service-unavailable")  # RFC 6120 §8.4
            return
        if name == "probe" and self.settings.component:
            self._probes.heard(iq, kid, serving=self._serving)
            return
        jid = iq.get("from", "")
        if not self._serving:
            self.stream.refuse(iq, "wait", "resource-constraint", "the service is starting: try again")
            return
        if iq.get("type") != "set":
            self._refuse(iq, BadRequestError("requests are of type set"))
        elif not self.access.knows(bare_of(jid)):
            self._refuse(iq, SecurityError(f"{bare_of(jid)} is not in the service's access list"))
        elif name == "open":
            self._begin(iq, kid, jid)
        elif jid in self._sessions:
            self._sessions[jid].request(iq, kid)
        else:
            self._refuse(iq, NoSessionError("open a session first: this address has none (any more)"))

    def _refuse(self, iq: Element, error: BaseException) -> None:
        self.stream.refuse(iq, *refusal_of(error))

    # Sessions.

    def _begin(self, iq: Element, kid: Element, jid: str) -> None:
        """Open a session, one at a time for each address."""
        if jid in self._openings:
            self._refuse(iq, ResourceAllocationError("a session of this address is being opened already"))
            return
        task = asyncio.get_running_loop().create_task(self._open(iq, kid, jid), name="unimsg xmpp open")
        self._openings[jid] = task
        task.add_done_callback(lambda _: self._openings.pop(jid, None))

    async def _open(self, iq: Element, kid: Element, jid: str) -> None:
        try:
            async with self._entering:
                payload = await self._opened(kid, jid)
        except Exception as error:
            if not isinstance(error, UnimsgError):
                log.error("%s: a session could not be opened", jid, exc_info=error)
            self._refuse(iq, error)
        else:
            self.stream.reply(iq, payload)

    async def _opened(self, kid: Element, jid: str) -> str:
        connection, client_id, bare = kid.get("connection", ""), kid.get("client-id"), bare_of(jid)
        if not _CONNECTION.fullmatch(connection):
            raise BadRequestError("<open> has connection=, an id of 8 to 64 letters, digits, _ and -, that nobody else has")
        if client_id is not None and not 0 < len(client_id) <= 128:
            raise BadRequestError("a client id has 1 to 128 characters")
        lease = min(max(seconds(kid, "lease", self._lease), 0.1), 3600.0)
        for other, session in list(self._sessions.items()):
            if bare_of(other) != bare and (session.connection_id.startswith(connection) or connection.startswith(session.connection_id)):
                # The names of temporary destinations start with it, and are known to others.
                raise InvalidClientIDError(f"the connection id {connection} is another's, or too like one")
            if other == jid or session.connection_id == connection:
                if other != jid:
                    self._dismiss(session, "its client has opened another")
                else:
                    self._end(session, "its client has opened another")
                await session.end()
        if len(self._sessions) >= self.limits.sessions or sum(bare_of(other) == bare for other in self._sessions) >= self.limits.sessions_each:
            raise ResourceAllocationError("too many sessions")
        create = kid.get("create", "auto")
        if create not in ("auto", "require"):
            raise BadRequestError("<open> has create='auto' or 'require'")
        store = f"{self._store}{'&' if '?' in self._store else '?'}create={create}"
        # A client id belongs to an account: another one may use the same word without meeting its subscriptions.
        scoped = None if client_id is None else f"{bare}/{client_id}"
        driver: Driver = make_driver(store, Identity(connection, scoped))
        holder: list[Session] = []
        await driver.open(lambda error: holder[0].gone(f"the store is lost: {error}") if holder else None)
        zlib = kid.get("packing") == "zlib"
        session = Session(jid, connection, client_id, self.stream, driver, self.access, self.limits, zlib=zlib, lease=lease, on_end=self._end)
        holder.append(session)
        self._sessions[jid] = session
        values = {
            "lease": f"{lease:g}",
            "packing": "zlib" if zlib else None,
            "credit": CREDIT,
            "requests": self.limits.requests,
            "stanza": STANZA,
        }
        return element("opened", values)

    def _dismiss(self, session: Session, why: str) -> None:
        """End a session whose client does not know yet."""
        with contextlib.suppress(ConnectionLostError):
            self.stream.send(f'<presence type="unavailable"{self._own} to="{escape(session.jid)}"/>')
        self._end(session, why)

    def _end(self, session: Session, why: str) -> None:
        if self._sessions.get(session.jid) is session:
            del self._sessions[session.jid]
        session.alive = False
        log.info("the session of %s ends: %s", session.jid, why)
        task = asyncio.get_running_loop().create_task(session.end(), name="unimsg xmpp session end")
        self._ended.add(task)
        task.add_done_callback(self._ended.discard)
