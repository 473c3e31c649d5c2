"""The door `memory://NAME`: a broker in this process, by name, for as long as the process lives.

Connections on any event loop and in any thread share it; durable subscriptions and queues stay when connections go.
A forked child starts with no brokers of its own: what the parent had open refuses to work there, for it would be a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from unimsg.broker import Broker, MemoryStore
from unimsg.capabilities import Feature, Support
from unimsg.driver import Delivery, Finding, Identity, Settlement
from unimsg.errors import ConnectionLostError, InvalidURLError
from unimsg.registry import URL
from unimsg_embedded.bell import Bell
from unimsg_embedded.door import EmbeddedDriver, capabilities_of

__all__ = ["MemoryDriver"]

R = TypeVar("R")
GRAIN = 0.001
"""Seconds: a loop's timer may come this much early by the wall clock."""


class Alarm:
    """The timer of one event loop: its connections' signs of life, and what is due in the broker."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self.loop = loop
        self.drivers: dict[MemoryDriver, float] = {}  # when each shows a sign of life next
        self.at = float("inf")
        self._handle: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Set the timer to the first thing that is due; in its own loop."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.at = float("inf")
        if not self.drivers:
            return
        due = self._hub.due()
        self.at = min([*self.drivers.values(), *(() if due is None else (due,))])
        self._handle = self.loop.call_later(max(self.at - time.time(), 0) + GRAIN, self.ring)

    def ring(self) -> None:
        """Show signs of life first: a loop that was blocked, and that nobody noticed, keeps what it holds."""
        now = time.time()
        for driver, due in list(self.drivers.items()):
            if due <= now + GRAIN:
                self.drivers[driver] = now + driver.lease / 3
                driver.beat()
        self._hub.run(Broker.tick)
        self.arm()


class Hub:
    """One named broker with its lock, its bell, and an alarm for each event loop that is connected."""

    def __init__(self) -> None:
        self.broker = Broker(MemoryStore())
        self.bell = Bell()
        self._lock = threading.Lock()
        self._alarms: dict[asyncio.AbstractEventLoop, Alarm] = {}

    def run(self, operation: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Run an operation, then wake whom it concerns, in whatever thread they wait."""
        broker = self.broker
        woken: tuple[int, ...] = ()
        with self._lock:
            try:
                return operation(broker, *arguments, now=time.time(), **options)
            finally:
                if broker.woken:
                    woken = tuple(broker.woken)
                    broker.woken.clear()
                due = broker.next_due()
                if woken:
                    self.bell.ring(woken)
                if due is not None:
                    self._alert(due)

    def run_quick(self, operation: Callable[..., R], *arguments: Any) -> R:
        """Run one of the operations of every message, which make nothing due earlier; `now` comes last."""
        broker = self.broker
        with self._lock:
            try:
                return operation(broker, *arguments, time.time())
            finally:
                if broker.woken:
                    self.bell.ring(tuple(broker.woken))
                    broker.woken.clear()

    def _alert(self, due: float) -> None:
        for alarm in self._alarms.values():
            if due < alarm.at:
                alarm.at = due  # so that nobody tells it again
                with contextlib.suppress(RuntimeError):  # its loop was closed without a word: its leases will run out
                    alarm.loop.call_soon_threadsafe(alarm.arm)

    def due(self) -> float | None:
        """Return when the broker wants a tick."""
        with self._lock:
            return self.broker.next_due()

    def add(self, driver: MemoryDriver) -> None:
        """Keep a connection's timer, from its event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for gone in [each for each in self._alarms if each.is_closed()]:
                del self._alarms[gone]
            alarm = self._alarms.setdefault(loop, Alarm(self, loop))
            alarm.drivers[driver] = time.time() + driver.lease / 3
        alarm.arm()

    def remove(self, driver: MemoryDriver) -> None:
        """Forget a connection's timer, from its event loop."""
        with self._lock:
            alarm = None if driver.loop is None else self._alarms.get(driver.loop)
            if alarm is None:
                return
            alarm.drivers.pop(driver, None)
            if not alarm.drivers:
                del self._alarms[alarm.loop]
        alarm.arm()


HUBS: dict[str, Hub] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=HUBS.clear)


class MemoryDriver(EmbeddedDriver):
    """A connection to the broker of a name in this process; `memory://` alone is the default one."""

    def __init__(self, url: URL, identity: Identity) -> None:
        """Judge the URL: a name, and the options lease, max_message_bytes and create. Raises InvalidURLError."""
        super().__init__(url, identity)
        url.finish()
        if url.user is not None or url.password is not None or url.port is not None:
            raise InvalidURLError(f"{url}: write memory://NAME, with no user and no port: it is a broker in this process")
        self.name = url.netloc + url.path
        not_kept = Feature(Support.UNSUPPORTED, "messages end with the process: take sqlite:///FILE where they must not")
        self.capabilities = capabilities_of(self.max_message_bytes, persistent=not_kept)
        self._hub = HUBS.get(self.name) or HUBS.setdefault(self.name, Hub())

    @property
    def bell(self) -> Bell:
        """Return the bell of the broker."""
        return self._hub.bell

    async def run(self, operation: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Call the operation at once."""
        return self._hub.run(operation, *arguments, **options)

    async def call(self, operation: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Call the operation on this open connection; the way of every message, so there is nothing in between."""
        self.check()
        try:
            return self._hub.run(operation, *arguments, **options)
        except ConnectionLostError as error:
            self.lose(error)
            raise

    async def take(self, consumer: int, limit: int) -> list[Delivery]:
        """Take deliveries at once: nothing can be cancelled in between."""
        return self._hub.run_quick(Broker.take, consumer, limit)

    async def settle(self, consumer: int, settlements: Sequence[Settlement]) -> list[Any]:
        """Settle at once."""
        self.check()
        for settlement in settlements:
            if settlement.delay:
                return await self.call(Broker.settle, consumer, settlements)
        return self._hub.run_quick(Broker.settle, consumer, settlements)

    async def enter(self) -> None:
        """Start the timer for signs of life."""
        self._hub.add(self)

    async def leave(self) -> None:
        """Stop the timer."""
        self._hub.remove(self)

    def beat(self) -> None:
        """Show a sign of life."""
        try:
            self._hub.run(Broker.heartbeat, self.identity.connection_id)
        except ConnectionLostError as error:
            self.lose(error)

    def dropped(self, consumer: int) -> int:
        """Return what the overflow policy has dropped."""
        return self._hub.run(_dropped, consumer)

    async def diagnose(self) -> AsyncIterator[Finding]:
        """Yield what there is to say of a broker in this process."""
        with_name = f"the broker {self.name!r}" if self.name else "the default broker"
        yield Finding("ok", "process", f"{with_name} of process {os.getpid()}: other processes do not see it", "use sqlite:///FILE to share one")
        infos = self._hub.run(Broker.inspect)
        depth = sum(info.depth or 0 for info in infos)
        yield Finding("ok", "contents", f"{len(infos)} queues and subscriptions, {depth} messages waiting")
        yield Finding("ok", "durability", "none: messages end with the process", "use sqlite:///FILE to keep them")

    def native(self) -> Broker:
        """Return the broker, `unimsg.broker.Broker`: shared by threads, so treat it as read-only."""
        return self._hub.broker


def _dropped(broker: Broker, consumer: int, now: float) -> int:
    del now
    return broker.dropped(consumer)
