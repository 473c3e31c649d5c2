"""The door `sqlite:///FILE`: a durable broker in a file, shared by the processes of one machine.

`sqlite:///orders.db` is relative to the working directory, `sqlite:////var/lib/orders.db` is not. Connections of one event
loop to one file share an `Engine`, so that what they do at the same time is one transaction.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from unimsg.broker import Broker
from unimsg.capabilities import Feature, Support
from unimsg.driver import Delivery, Finding, Identity, Outcome, Settlement
from unimsg.errors import ConnectionLostError, IllegalStateError, InvalidURLError
from unimsg.registry import URL
from unimsg_embedded.bell import Bell
from unimsg_embedded.door import EmbeddedDriver, capabilities_of
from unimsg_embedded.sqlite_engine import Call, Engine

__all__ = ["SqliteDriver"]

R = TypeVar("R")

# What need not reach the disk before it is answered: if the machine dies, nobody is left who remembers it.
_LIGHT: frozenset[Any] = frozenset({Broker.take, Broker.heartbeat, Broker.extend, Broker.browse, Broker.inspect})
# What may touch many rows, and so must not run in the event loop's thread.
_HEAVY: frozenset[Any] = frozenset({Broker.purge, Broker.delete, Broker.unsubscribe, Broker.browse, Broker.inspect, Broker.disconnect, Broker.detach})

ENGINES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Path, Engine]] = weakref.WeakKeyDictionary()
INHERITED: set[tuple[int, int]] = set()
"""Files (device, inode) that were open when this process was forked: SQLite cannot lock them here any more."""


def _forked() -> None:
    for engines in ENGINES.values():
        for path, engine in engines.items():
            try:
                status = path.stat()
            except OSError:
                continue
            INHERITED.add((status.st_dev, status.st_ino))
            engine.abandon()
    ENGINES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _path_of(url: URL) -> Path:
    """Return the file that a URL names, absolute. Raises InvalidURLError."""
    if url.netloc or url.user is not None or url.password is not None:
        named = url.netloc or "…"
        raise InvalidURLError(f"{url}: a file has no host: write sqlite:///{named} (relative to the working directory) or sqlite:////{named} (absolute)")
    name = url.path.removeprefix("/")
    if name in (":memory:", "/:memory:"):
        raise InvalidURLError(f"{url}: a broker in memory is memory://NAME; sqlite:/// keeps a file")
    if not name.strip("/") or "\0" in name:
        raise InvalidURLError(f"{url}: which file? Write sqlite:///orders.db (relative to the working directory) or sqlite:////var/lib/orders.db")
    return Path(os.path.realpath(name))


class SqliteDriver(EmbeddedDriver):
    """A connection to the broker in a file."""

    def __init__(self, url: URL, identity: Identity) -> None:
        """Judge the URL: a path, and the options sync, lease, max_message_bytes and create. Raises InvalidURLError."""
        super().__init__(url, identity)
        self.sync = cast('Literal["full", "normal"]', url.choice("sync", "full", "normal"))
        url.finish()
        self.path = _path_of(url)
        persistent = Feature(
            Support.NATIVE, "on the disk before `send` returns" if self.sync == "full" else "in the log; sync=normal may lose the last ones if the machine dies"
        )
        self.capabilities = capabilities_of(self.max_message_bytes, persistent=persistent)
        self._engine: Engine | None = None
        self._beat: asyncio.TimerHandle | None = None

    @property
    def engine(self) -> Engine:
        """Return the engine, while this is open. Raises IllegalStateError."""
        if self._engine is None:
            raise IllegalStateError(f"{self.url}: this driver is not open")
        return self._engine

    @property
    def bell(self) -> Bell:
        """Return the bell of the file, in this event loop."""
        return self.engine.bell

    async def run(self, operation: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Run the operation in the next transaction, and return after its COMMIT."""
        call: Call = lambda broker, now: operation(broker, *arguments, now=now, **options)  # noqa: E731
        result: R = await self.engine.submit(call, durable=operation not in _LIGHT, heavy=operation in _HEAVY)
        return result

    async def take(self, consumer: int, limit: int) -> list[Delivery]:
        """Take deliveries; those that a cancelled call has taken go back, uncounted."""

        def give_back(found: list[Delivery]) -> Call | None:
            unseen = [Settlement(delivery.token, Outcome.UNSEEN) for delivery in found]
            return (lambda broker, now: broker.settle(consumer, unseen, now)) if unseen else None

        engine = self.engine
        future = engine.submit(lambda broker, now: broker.take(consumer, limit, now), durable=False, undo=give_back)
        try:
            found: list[Delivery] = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                engine.undo(give_back, future.result())  # it was answered, and cancelled before it could look
            raise
        return found

    async def enter(self) -> None:
        """Open the file, or share it with the other connections of this event loop; start the signs of life."""
        engines = ENGINES.setdefault(asyncio.get_running_loop(), {})
        if INHERITED and self.path.exists():
            status = self.path.stat()
            if (status.st_dev, status.st_ino) in INHERITED:
                raise IllegalStateError(
                    f"{self.path}: the process that this one was forked from had the file open, and SQLite cannot use it on both sides of a fork: "
                    "start processes by spawn (multiprocessing) or as programs (subprocess), or fork before connecting"
                )
        engine = engines.get(self.path)
        if engine is None:
            engine = engines[self.path] = Engine(self.path, self.sync)
        elif engine.sync != self.sync:
            raise IllegalStateError(f"{self.url}: open in this event loop already with sync={engine.sync}: say the same")
        engine.users += 1
        try:
            await engine.ready()
        except BaseException:
            await self._let_go(engine)
            raise
        self._engine = engine
        self._schedule()

    async def leave(self) -> None:
        """Stop the signs of life, and close the file behind the last connection."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        engine, self._engine = self._engine, None
        if engine is not None and self._pid == os.getpid():
            await self._let_go(engine)

    @staticmethod
    async def _let_go(engine: Engine) -> None:
        engine.users -= 1
        if not engine.users:
            engines = ENGINES.get(asyncio.get_running_loop(), {})
            if engines.get(engine.path) is engine:
                del engines[engine.path]
            await engine.close()

    def _schedule(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(self.lease / 3, self._show_life)

    def _show_life(self) -> None:
        engine = self._engine
        if engine is None:
            return
        self._schedule()

        def shown(future: asyncio.Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, ConnectionLostError):
                self.lose(error)

        link = self.identity.connection_id
        engine.submit(lambda broker, now: broker.heartbeat(link, now), durable=False).add_done_callback(shown)

    def dropped(self, consumer: int) -> int:
        """Return what the overflow policy has dropped."""
        return self._engine.dropped(consumer) if self._engine is not None else 0

    async def diagnose(self) -> AsyncIterator[Finding]:
        """Yield findings about the file: what it is, whether it can be written, how long the disk takes, and who uses it."""
        from unimsg_embedded.sqlite_doctor import findings

        for finding in await asyncio.to_thread(lambda: list(findings(self.path, self.sync, time.time()))):
            yield finding

    def native(self) -> object:
        """Return the `sqlite3.Connection`: to read with, between two awaits; its transactions are the broker's."""
        return self.engine.database
