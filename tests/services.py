"""XMPP services of a test's own: in a thread of their own event loop, on a shared server, each under a component name."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from unimsg.testing import Server
from unimsg_xmpp.service.access import Access, rule_of
from unimsg_xmpp.service.service import Service

__all__ = ["Hall"]

R = TypeVar("R")


class Hall:
    """A thread in which services run, so that a test that blocks its own event loop does not stop them."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="services", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine there, and wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @contextmanager
    def service(self, server: Server, *, store: str | None = None, allow: str = "*@localhost", **options: Any) -> Iterator[str]:
        """Run a fresh service over memory; give a URL for alice with it."""
        name = server.components[-1]
        service = Service(server.component_url(name), store or f"memory://{uuid.uuid4().hex}", Access([rule_of(allow)]), **options)

        async def start() -> None:
            await service.start()

        self.do(start())
        try:
            yield server.url("alice", "pw", service=f"{name}.{server.domain}", tls="off")
        finally:
            self.do(service.stop())

    def close(self) -> None:
        """End the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
