"""One address has one service: a lock on the store, and requests to ourselves that another service would get.

Prosody refuses a second connection of a component. ejabberd takes it, and gives each stanza to one of the two: so a service
that starts sends itself requests from several addresses of its own, and if one does not come, it leaves. The one that
serves already says so at once, and goes on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import uuid
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from unimsg.errors import IllegalStateError, InvalidURLError
from unimsg.registry import URL
from unimsg_xmpp.discovery import features_of
from unimsg_xmpp.protocol import NAMESPACE, element, flag
from unimsg_xmpp.service.access import bare_of
from unimsg_xmpp.settings import Settings
from unimsg_xmpp.stream import Stream

__all__ = ["AnotherServiceError", "Probes", "ask_before", "lock"]

PROBES = 20
"""Requests to itself: a server that balances by chance lets all of them pass by one time in a million."""
PATIENCE = 3.0
"""Seconds in which they must come."""
ROUNDS = 5


class AnotherServiceError(IllegalStateError):
    """Say that another service has this address."""


class Probes:
    """The requests that a component sends to itself."""

    def __init__(self, stream: Stream, domain: str) -> None:
        self.instance = uuid.uuid4().hex
        self._stream = stream
        self._domain = domain
        self._missing: set[str] = set()
        self._round = 0
        self._rival = False
        self._over: asyncio.Future[bool] | None = None

    def _send(self, name: str, *, serving: bool) -> None:
        payload = element("probe", {"instance": self.instance, "serving": serving or None})
        self._stream.send(f'<iq type="get" id="{name}" from="probe-{name}@{self._domain}" to="{self._domain}">{payload}</iq>')

    async def ask(self) -> None:
        """Return once it is clear that nobody else is there. Raises AnotherServiceError."""
        for _ in range(ROUNDS):
            self._round += 1
            self._rival = False
            self._missing = {f"{self.instance[:12]}-{self._round}-{place}" for place in range(PROBES)}
            self._over = asyncio.get_running_loop().create_future()
            for name in sorted(self._missing):
                self._send(name, serving=False)
            try:
                async with asyncio.timeout(PATIENCE):
                    alone = await self._over
            except TimeoutError:
                continue  # a rival that started with us and leaves, or a server that is busy: one that serves would have said so at once
            finally:
                self._over = None
            if alone:
                return
            break
        lost = f"it got {len(self._missing)} of the {PROBES} requests that we sent to ourselves"
        raise AnotherServiceError(f"another service is running at {self._domain}: {lost}")

    def heard(self, iq: Element, kid: Element, *, serving: bool) -> None:
        """Take a `<probe>`: ours, or another service's."""
        if not bare_of(iq.get("from", "")).endswith(f"@{self._domain}"):
            self._stream.refuse(iq, "cancel", "service-unavailable")  # only who has our address is meant
            return
        other = kid.get("instance", "")
        over = self._over
        if other == self.instance:
            self._missing.discard(iq.get("id", ""))
            if not self._missing and over is not None and not over.done():
                over.set_result(True)
        elif serving:
            self._stream.refuse(iq, "cancel", "conflict")
            if not flag(kid, "serving"):
                self._send(f"{self.instance[:12]}-{uuid.uuid4().hex[:8]}", serving=True)
        elif over is not None and not over.done():
            if flag(kid, "serving") or other < self.instance:
                over.set_result(False)
            else:
                self._rival = True


async def ask_before(settings: Settings) -> None:
    """Look, under another resource of an account, whether a service is there: logging in would throw it out. Raises AnotherServiceError."""
    settings, wanted = replace(settings, resource=f"look-{uuid.uuid4().hex[:8]}"), settings.resource
    stream = Stream(settings, on_iq=_ignore, on_message=_ignore, on_presence=_ignore, on_lost=_ignore)
    await stream.open()
    try:
        jid = f"{settings.user}@{settings.domain}/{wanted}"
        if NAMESPACE in await features_of(stream, jid):
            raise AnotherServiceError(f"another service is running at {jid}: one address has one service")
    finally:
        await stream.close()


def _ignore(_: object) -> None:
    """Listen to nobody."""


def lock(store: str) -> int | None:
    """Take the lock of a file's service, and return what to close: two services would end each other's connections.

    Raises AnotherServiceError, InvalidURLError.
    """
    url = URL(store)
    if url.scheme != "sqlite":
        return None
    path = Path(os.path.realpath(f"{url.path.removeprefix('/')}.service"))
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidURLError(f"{url}: {path}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise AnotherServiceError(f"another service is running on {url}: one file has one service") from None
    return handle
