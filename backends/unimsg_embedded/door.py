"""What the doors to the embedded broker share: a driver, its senders and receivers, over something that runs operations.

A door says in `run` how an operation of the broker is run (at once under a lock; by a writer thread, in a transaction), and
brings the `Bell` that rings for what the operation changed. Everything that waits, waits here: for messages, for room.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar

from unimsg.broker import LEASE, Broker, Full
from unimsg.capabilities import Capabilities, Feature, Limits
from unimsg.destination import Destination
from unimsg.driver import Delivery, DestinationInfo, Finding, Frame, Identity, Receiver, Settlement, Source
from unimsg.errors import (
    ClosedError,
    ConnectionLostError,
    IllegalStateError,
    InvalidDestinationError,
    MessageTooLargeError,
    PartialSendError,
    UnimsgError,
)
from unimsg.registry import URL
from unimsg_embedded.bell import Bell, Waiter

__all__ = ["MAX_MESSAGE_BYTES", "EmbeddedDriver", "EmbeddedReceiver", "EmbeddedSender", "capabilities_of"]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
PAGE = 100
GENEROUS = 4
"""Receives in a row that may return without suspending; then the event loop has its turn, or nobody else ever would."""
R = TypeVar("R")

NATIVE = """
    queue topic topic.pattern subscription.durable subscription.shared temporary selector.topic selector.queue no_local priority time_to_live
    delivery_delay group browse individual release_delay delivery_count extend transaction deduplication overflow inspect purge client_id
"""


def capabilities_of(max_message_bytes: int, **others: Feature) -> Capabilities:
    """Return what the embedded broker can do behind any door, and `others` of this one."""
    limits = Limits(max_message_bytes=max_message_bytes, order="per destination, priority first; what is released returns to its place")
    return Capabilities(NATIVE, limits=limits, **others)


def seconds(text: str) -> float:
    """Read a time that is more than 0 and at most a day. Raises ValueError."""
    value = float(text)
    if not 0 < value <= 86_400:
        raise ValueError(text)
    return value


def size(text: str) -> int:
    """Read a number of bytes that is more than 0. Raises ValueError."""
    value = int(text)
    if value <= 0:
        raise ValueError(text)
    return value


class EmbeddedDriver(ABC):
    """One connection to an embedded broker; a door completes it with `run`, `enter`, `leave` and a few more."""

    capabilities: Capabilities

    def __init__(self, url: URL, identity: Identity) -> None:
        """Read the options that all doors have; the door reads its own and calls `url.finish()`."""
        self.url = url
        self.identity = identity
        self.lease = url.option("lease", LEASE, seconds, "seconds that deliveries are lent to a connection that is silent, more than 0, at most 86400")
        self.max_message_bytes = url.option("max_message_bytes", MAX_MESSAGE_BYTES, size, "bytes that a message may have, more than 0")
        self.create = url.choice("create", "auto", "require") == "auto"
        self._on_lost: Callable[[BaseException], None] | None = None
        self._lost: BaseException | None = None
        self._open = False
        self._waiting: set[Waiter] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._pid = os.getpid()
        self.loop: asyncio.AbstractEventLoop | None = None

    # What a door brings.

    @property
    @abstractmethod
    def bell(self) -> Bell:
        """Return the bell of the broker, while this is open."""

    @abstractmethod
    async def run(self, operation: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Call `operation(broker, *arguments, now=…, **options)`, then ring for what it woke; return or raise what it does.

        Whatever the broker raises, what it has changed stands; only an error of the store's own undoes it.
        """

    @abstractmethod
    async def enter(self) -> None:
        """Reach the broker: after this, `run` works. Raises StoreError and the like."""

    @abstractmethod
    async def leave(self) -> None:
        """Undo `enter`, once the broker has been told; never raises."""

    async def take(self, consumer: int, limit: int) -> list[Delivery]:
        """Take deliveries; a cancelled call must not keep any."""
        return await self.run(Broker.take, consumer, limit)

    async def settle(self, consumer: int, settlements: Sequence[Settlement]) -> list[Any]:
        """Settle deliveries; return the stale tokens."""
        return await self.call(Broker.settle, consumer, settlements)

    @abstractmethod
    def dropped(self, consumer: int) -> int:
        """Return how many messages the overflow policy of a consumer's subscription has dropped, as far as is known here."""

    # The connection.

    async def open(self, on_lost: Callable[[BaseException], None]) -> None:
        """Connect. Raises InvalidClientIDError, IllegalStateError when open already, and what the door's store raises."""
        if self._open:
            raise IllegalStateError(f"{self.url}: this driver is open already")
        self._same_process()
        self.loop = asyncio.get_running_loop()
        await self.enter()
        try:
            await self.run(Broker.connect, self.identity, lease=self.lease)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):  # it may have been let in all the same
                with contextlib.suppress(Exception):
                    await self.run(Broker.disconnect, self.identity.connection_id)
            await self.leave()
            raise
        self._on_lost = on_lost
        self._lost, self._open = None, True  # not before: who asks meanwhile must hear that it is lost, not closed

    async def close(self) -> None:
        """Disconnect: consumers, live subscriptions and temporary destinations go. Again, and after a loss: nothing."""
        if not self._open:
            return
        self._open = False
        self._wake()
        try:
            if self._lost is None and self._pid == os.getpid():
                with contextlib.suppress(UnimsgError):
                    await self.run(Broker.disconnect, self.identity.connection_id)
        finally:
            await self.leave()

    def lose(self, error: BaseException) -> None:
        """Note that the connection is gone: everything that waits ends, and `on_lost` is called. From the event loop only."""
        if self._lost is None and self._open:
            self._lost, self._open = error, False
            self._wake()
            on_lost = self._on_lost
            if on_lost is not None and self.loop is not None:
                self.loop.call_soon(self._tell, on_lost, error)

    def _tell(self, on_lost: Callable[[BaseException], None], error: BaseException) -> None:
        task = asyncio.ensure_future(self.leave())
        task.add_done_callback(lambda _: on_lost(error))

    def _wake(self) -> None:
        for waiter in list(self._waiting):
            waiter.wake()

    def _same_process(self) -> None:
        if self._pid != os.getpid():
            raise IllegalStateError(f"{self.url}: opened in a process that forked since; a connection cannot be used in the child: connect again there")

    def check(self) -> None:
        """Raise ConnectionLostError or ClosedError unless this is open."""
        if not self._open:
            if self._lost is not None:
                raise ConnectionLostError(f"{self.url}: the connection is lost: {self._lost}") from self._lost
            raise ClosedError(f"{self.url}: the connection is closed")
        self._same_process()

    async def call(self, operation: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Run an operation on this open connection; one that the broker has given up is lost from then on."""
        self.check()
        try:
            return await self.run(operation, *arguments, **options)
        except ConnectionLostError as error:
            self.lose(error)
            raise

    async def wait(self, waiter: Waiter, timeout: float | None) -> bool:
        """Wait for the bell, or until this connection ends (its caller checks)."""
        self._waiting.add(waiter)
        try:
            self.check()
            return await waiter.wait(timeout)
        finally:
            self._waiting.discard(waiter)

    # What the contract wants.

    async def sender(self, destination: Destination[Any] | None) -> EmbeddedSender:
        """Return a sender. Raises InvalidDestinationError for one that cannot be sent to."""
        self.check()
        if destination is not None:
            await self.call(_prepare, destination, self.create, self.identity.connection_id)
        return EmbeddedSender(self)

    async def receiver(self, source: Source, credit: int) -> EmbeddedReceiver:
        """Return a receiver; it reads nothing ahead, so `credit` is kept whatever it is."""
        del credit
        self.check()
        destination = source.destination
        if destination.is_temporary and not destination.name.startswith(self.identity.connection_id):
            raise InvalidDestinationError(f"{destination} belongs to another connection: only its own may consume from it")
        attaching = asyncio.ensure_future(self.call(_attach, source, self.identity.connection_id, create=self.create))
        try:
            consumer, mailbox = await asyncio.shield(attaching)
        except asyncio.CancelledError:
            attaching.add_done_callback(self._never_mind)
            raise
        return EmbeddedReceiver(self, consumer, mailbox)

    def _never_mind(self, attaching: asyncio.Future[tuple[int, int]]) -> None:
        """End the consumer of a cancelled call: nobody would ever read what it collects."""
        if not attaching.cancelled() and attaching.exception() is None and self._open and self.loop is not None:
            receiver = EmbeddedReceiver(self, *attaching.result())
            closing = self.loop.create_task(receiver.close(), name="unimsg detach")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def fits(self, frames: Sequence[Frame]) -> None:
        """Raise MessageTooLargeError for the first frame over the limit."""
        for frame in frames:
            if len(frame.data) > self.max_message_bytes:
                raise MessageTooLargeError(
                    f"{self.url}: a message of {len(frame.data)} bytes is over the limit of {self.max_message_bytes} (option max_message_bytes)",
                    len(frame.data),
                    self.max_message_bytes,
                )

    async def commit(self, sends: Sequence[Frame], settlements: Sequence[tuple[Receiver, Sequence[Settlement]]]) -> None:
        """Do all or nothing, in one operation of the broker."""
        self.check()
        self.fits(sends)
        by_consumer: list[tuple[int, Sequence[Settlement]]] = []
        for receiver, settled in settlements:
            if not isinstance(receiver, EmbeddedReceiver) or receiver.driver is not self:
                raise IllegalStateError("a transaction settles deliveries of its own connection only")
            by_consumer.append((receiver.consumer, settled))
        await self.with_room(lambda: self.call(Broker.commit, sends, by_consumer, self.identity.connection_id, create=self.create))

    async def with_room(self, attempt: Callable[[], Any]) -> None:
        """Attempt until no mailbox that blocks is full; `attempt` goes on where it stopped."""
        full: int | None = None
        while True:
            if full is None:
                try:
                    await attempt()
                except Full as refused:
                    full = refused.mailbox
                    continue
                return
            self.check()
            with self.bell.waiter(full) as waiter:
                try:
                    await attempt()  # there may have come room before the waiter waited
                except Full as refused:
                    if refused.mailbox == full:
                        await self.wait(waiter, None)
                    full = refused.mailbox
                    continue
                return

    async def declare(self, destination: Destination[Any]) -> None:
        """Make a queue or a temporary destination of ours."""
        await self.call(Broker.declare, destination, self.identity.connection_id)

    async def delete(self, destination: Destination[Any]) -> None:
        """Remove a queue or a temporary destination. Raises IllegalStateError while it has consumers."""
        await self.call(Broker.delete, destination, self.identity.connection_id)

    async def purge(self, destination: Destination[Any], subscription: str | None = None) -> int:
        """Empty a queue or a subscription; what consumers hold stays theirs."""
        return await self.call(Broker.purge, destination, subscription, self.identity.connection_id)

    async def unsubscribe(self, subscription: str) -> None:
        """Remove a durable subscription. Raises IllegalStateError while somebody listens."""
        await self.call(Broker.unsubscribe, subscription, self.identity.connection_id)

    async def browse(self, destination: Destination[Any], selector: str | None = None) -> AsyncIterator[Frame]:
        """Yield what could be taken now, page by page."""
        after: Any = None
        while True:
            frames, after = await self.call(Broker.browse, destination, selector, after, PAGE, self.identity.connection_id)
            for frame in frames:
                yield frame
            if after is None:
                return

    async def inspect(self) -> Sequence[DestinationInfo]:
        """Return queues and subscriptions, in order of name."""
        return await self.call(Broker.inspect)

    @abstractmethod
    def diagnose(self) -> AsyncIterator[Finding]:
        """Yield findings."""

    @abstractmethod
    def native(self) -> object:
        """Return what is behind the door."""

    def is_retryable(self, error: BaseException) -> bool:
        """Tell whether a new try may succeed: our errors say it themselves."""
        return isinstance(error, UnimsgError) and error.retryable

    def error_of(self, error: BaseException) -> BaseException:
        """Return the error itself: the broker raises ours only."""
        return error


def _prepare(broker: Broker, destination: Destination[Any], create: bool, link_id: str, now: float) -> None:
    """Judge what a sender is for, and make its queue."""
    broker.gate.check(destination, create)
    if not destination.is_topic and not destination.is_temporary:
        broker.declare(destination, link_id, now)


def _attach(broker: Broker, source: Source, link_id: str, create: bool, now: float) -> tuple[int, int]:
    consumer = broker.attach(source, link_id, now, create)
    return consumer, broker.consumer(consumer).mailbox


class EmbeddedSender:
    """Sends to wherever the routes say."""

    def __init__(self, driver: EmbeddedDriver) -> None:
        self._driver = driver
        self._closed = False

    async def send(self, frames: Sequence[Frame]) -> None:
        """Return when the broker has all of them; wait where a live subscription blocks."""
        driver = self._driver
        if self._closed:
            raise ClosedError("the sender is closed")
        driver.fits(frames)
        try:
            await driver.call(Broker.send, frames, driver.identity.connection_id, create=driver.create)
        except Full as full:
            await self._send_on(frames, full)

    async def _send_on(self, frames: Sequence[Frame], full: Full) -> None:
        """Send what a full mailbox has stopped, as room comes."""
        driver, done, failures = self._driver, full.done, dict(full.failures)

        async def attempt() -> None:
            nonlocal done
            try:
                await driver.call(Broker.send, frames[done:], driver.identity.connection_id, create=driver.create)
            except Full as again:
                failures.update(_moved(again.failures, done))
                done += again.done
                raise
            except PartialSendError as partial:
                failures.update(_moved(partial.failures, done))

        try:
            await driver.with_room(attempt)
        except UnimsgError as error:  # of the connection, or of all that were left
            if not done:
                raise
            failures.update(dict.fromkeys(range(done, len(frames)), error))
        if failures:
            raise next(iter(failures.values())) if len(failures) == len(frames) else PartialSendError(failures)

    async def close(self) -> None:
        """Send no more."""
        self._closed = True


def _moved(failures: Mapping[int, Exception], by: int) -> dict[int, Exception]:
    return {position + by: error for position, error in failures.items()}


class EmbeddedReceiver:
    """Receives from one consumer of the broker."""

    def __init__(self, driver: EmbeddedDriver, consumer: int, mailbox: int) -> None:
        self.driver = driver
        self.consumer = consumer
        self.mailbox = mailbox
        self._closed = False
        self._waiting: set[Waiter] = set()
        self._dropped = 0
        self._row = 0

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("the receiver is closed")
        self.driver.check()

    async def _take(self, limit: int) -> list[Delivery]:
        self._check()
        try:
            return await self.driver.take(self.consumer, limit)
        except ConnectionLostError as error:
            self._check()  # closed in the meantime: that, not a loss
            self.driver.lose(error)
            raise

    async def receive(self, limit: int, timeout: float | None) -> list[Delivery]:
        """Return what there is, or wait for it; mostly without suspending if there is something and the door need not wait."""
        self._row += 1
        if self._row > GENEROUS:
            self._row = 0
            await asyncio.sleep(0)  # before anything is taken: a cancellation here loses nothing
        found = await self._take(limit)
        if found or timeout == 0:
            return found
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            self._check()
            with self.driver.bell.waiter(self.mailbox) as waiter:
                found = await self._take(limit)
                if found:
                    return found
                left = None if end is None else end - loop.time()
                self._waiting.add(waiter)
                try:
                    if (left is not None and left <= 0) or not await self.driver.wait(waiter, left):
                        return []
                finally:
                    self._waiting.discard(waiter)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Any]:
        """Settle; of a closed receiver or a lost connection every token is stale."""
        if self._closed or not settlements:
            return [settlement.token for settlement in settlements]
        return await self.driver.settle(self.consumer, settlements)

    async def extend(self, tokens: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Hold deliveries for `seconds` from now even if this process stops."""
        if self._closed:
            return list(tokens)
        return await self.driver.call(Broker.extend, self.consumer, tokens, seconds)

    def dropped(self) -> int:
        """Return how many messages the overflow policy has dropped."""
        if not self._closed:
            self._dropped = max(self._dropped, self.driver.dropped(self.consumer))
        return self._dropped

    async def close(self) -> None:
        """Stop; again, or after the connection's end: nothing."""
        if self._closed:
            return
        self.dropped()
        self._closed = True
        for waiter in list(self._waiting):
            waiter.wake()
        with contextlib.suppress(ClosedError, ConnectionLostError):
            await self.driver.call(Broker.detach, self.consumer)
