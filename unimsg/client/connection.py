"""The connection: where everything starts, `async with unimsg.connect(url) as connection`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, Unpack, overload

from unimsg.capabilities import Capabilities
from unimsg.client.browser import Browser
from unimsg.client.link import Link
from unimsg.client.mode import Mode, mode_of
from unimsg.client.opening import Opening, leave
from unimsg.client.options import Backoff, ConsumerOptions, RedeliveryPolicy, SendOptions, check_policy
from unimsg.client.requests import Requests
from unimsg.client.session import Session
from unimsg.client.stamp import Stamper
from unimsg.client.waiting import Ending
from unimsg.destination import Destination, TemporaryQueue, TemporaryTopic
from unimsg.driver import DestinationInfo, Driver, Identity
from unimsg.errors import ClosedError, IllegalStateError, InvalidClientIDError
from unimsg.message import Message, ReceivedMessage
from unimsg.registry import URL, make_driver

if TYPE_CHECKING:
    from types import TracebackType

    from unimsg.client.consumer import Consumer
    from unimsg.client.producer import Producer

__all__ = ["Connection", "Health", "connect"]

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger("unimsg")


class Health(NamedTuple):
    """How a connection is, at a glance: `state` is up, down (reconnecting) or closed, `since` in seconds since the epoch."""

    state: str
    since: float
    url: str
    reconnects: int
    producers: int
    consumers: int
    unconfirmed: int
    in_hand: int
    stale: int
    dropped: int
    expired: int

    @property
    def ok(self) -> bool:
        """Tell whether messages can travel now."""
        return self.state == "up"


def connect(url: str, *, client_id: str | None = None, redelivery: RedeliveryPolicy | None = None, reconnect: bool | Backoff = True) -> Opening[Connection]:
    """Connect to the broker that a URL names: `memory://`, `sqlite:///orders.db`, …; await it or enter it.

    `client_id` is the identity that durable subscriptions belong to; one live connection may have it. `redelivery` is
    the default of its consumers. `reconnect=False` lets a lost connection end instead.
    Raises InvalidURLError, BackendNotFoundError, BackendNotInstalledError, ConnectionFailedError, SecurityError,
    InvalidClientIDError.
    """
    return Opening(lambda: _open(url, client_id, redelivery, reconnect))


async def _open(url: str, client_id: str | None, redelivery: RedeliveryPolicy | None, reconnect: bool | Backoff) -> Connection:
    if client_id is not None and not 0 < len(client_id) <= 128:
        raise InvalidClientIDError(f"a client id is a text of 1 to 128 characters, not {client_id!r:.60}")
    backoff = Backoff() if reconnect is True else reconnect or None
    parsed = URL(url)
    identity = Identity(uuid.uuid4().hex, client_id)
    connection = Connection(make_driver(parsed, identity), identity, str(parsed), check_policy(redelivery or RedeliveryPolicy()), backoff)
    await connection.link.open()
    return connection


class Connection:
    """One connection to one broker; makes producers, consumers, sessions, and asks and answers."""

    def __init__(self, driver: Driver, identity: Identity, url: str, redelivery: RedeliveryPolicy, backoff: Backoff | None) -> None:
        """Be made by `unimsg.connect(url)`."""
        self.connection_id = identity.connection_id
        self.client_id = identity.client_id
        self.redelivery = redelivery
        self.link = Link(driver, url, backoff, self._restore)
        self.stamper = Stamper(identity.connection_id, driver.capabilities, identity.client_id)
        self._url = url
        self._sessions: list[Session] = []
        self._plain = Session(self, Mode.AUTO)
        self._requests = Requests(self)
        self._temporary: list[Destination[Any]] = []
        self._count = 0
        self._ending = Ending()
        self._past = [0, 0, 0]  # stale, dropped and expired, of consumers that are closed
        self._pid = os.getpid()

    @property
    def capabilities(self) -> Capabilities:
        """Return what this backend can do: `capabilities["priority"].support`."""
        return self.link.driver.capabilities

    # What it makes.

    @overload
    def producer(self, destination: None = None, **defaults: Unpack[SendOptions]) -> Opening[Producer[Any]]: ...
    @overload
    def producer(self, destination: Destination[T], **defaults: Unpack[SendOptions]) -> Opening[Producer[T]]: ...
    def producer(self, destination: Destination[Any] | None = None, **defaults: Unpack[SendOptions]) -> Opening[Producer[Any]]:
        """Make a producer, bound to a destination or, without one, free to send `to=` any; `defaults` are for its sends."""
        return Opening(lambda: self._plain.make_producer(destination, defaults))

    def consumer(self, source: Destination[T], *, mode: str = "auto", **options: Unpack[ConsumerOptions]) -> Opening[Consumer[T]]:
        """Make a consumer of a queue, a topic, a pattern or a subscription; once entered, what is sent is received.

        `mode` is auto, client, dups_ok or individual; the options are `selector=`, `subscription=`, `durable=`, `shared=`, `no_local=`,
        `prefetch=`, `redelivery=`, `overflow=` and `backlog=` (see `ConsumerOptions`).
        Raises InvalidSelectorError, InvalidDestinationError, IllegalStateError, UnsupportedError, ValueError.
        """

        async def make() -> Consumer[T]:
            chosen = mode_of(mode)
            if chosen is Mode.TRANSACTED:
                raise IllegalStateError('a transaction belongs to a session: connection.session("transacted"), and its consumer()')
            session = self._session(chosen)
            try:
                return await session.make_consumer(source, options, private=True)
            except BaseException:
                self.ended(session)
                raise

        return Opening(make)

    def session(self, mode: str = "auto") -> Opening[Session]:
        """Make a session in a mode: auto, client, dups_ok, individual or transacted."""

        async def make() -> Session:
            chosen = mode_of(mode)
            if chosen is Mode.TRANSACTED:
                self.capabilities.require("transaction", 'session("transacted")')
            if chosen is Mode.INDIVIDUAL:
                self.capabilities.require("individual", 'session("individual")')
            return self._session(chosen)

        return Opening(make)

    def _session(self, mode: Mode) -> Session:
        self.link.check()
        self._check_process()
        session = Session(self, mode)
        self._sessions.append(session)
        return session

    def ended(self, session: Session) -> None:
        """Hear that a session is closed."""
        if session in self._sessions:
            self._sessions.remove(session)

    def count(self, consumer: Consumer[Any]) -> None:
        """Keep the counts of a consumer that is going."""
        self._past = [past + now for past, now in zip(self._past, (consumer.stale, consumer.dropped, consumer.expired), strict=True)]

    def browse(self, queue: Destination[T], *, selector: str | None = None) -> Browser[T]:
        """Make a browser, which yields what a consumer of the queue would get now, and takes nothing."""
        self.link.check()
        return Browser(self, queue, selector)

    async def temporary_queue(self) -> TemporaryQueue[Any]:
        """Make a queue that only this connection consumes from, and that ends with it."""
        return await self._declare_temporary(TemporaryQueue(self._temporary_name()))

    async def temporary_topic(self) -> TemporaryTopic[Any]:
        """Make a topic that only this connection listens to, and that ends with it."""
        return await self._declare_temporary(TemporaryTopic(self._temporary_name()))

    def _temporary_name(self) -> str:
        self._count += 1
        return f"{self.connection_id}.{self._count}"

    async def _declare_temporary(self, destination: T) -> T:
        self.link.check()
        self.capabilities.require("temporary", "a temporary destination")
        assert isinstance(destination, Destination)  # noqa: S101  (for the type checker)
        await self.link.retry(lambda: self.link.driver.declare(destination))
        self._temporary.append(destination)
        return destination

    # What it does itself.

    async def request(self, destination: Destination[Any], body: Any, *, timeout: float | None = None, **options: Unpack[SendOptions]) -> ReceivedMessage[Any]:
        """Send a request and return its answer. Raises TimeoutError after `timeout` seconds, ClosedError."""
        return await self._requests.request(destination, body, timeout, options)

    async def reply(self, request: Message[Any], body: Any, **options: Unpack[SendOptions]) -> Message[Any]:
        """Answer a request. Raises InvalidDestinationError if nobody waits for an answer."""
        return await self._requests.reply(request, body, options)

    async def unsubscribe(self, subscription: str) -> None:
        """Remove a durable subscription and what it holds. Raises InvalidDestinationError if there is none, IllegalStateError if it is in use."""
        self.capabilities.require("subscription.durable", f"unsubscribe({subscription!r})")
        await self._call(lambda: self.link.driver.unsubscribe(subscription))

    async def declare(self, destination: Destination[Any]) -> None:
        """Make a destination, so that it is listed and holds what is sent before anybody listens."""
        await self._call(lambda: self.link.driver.declare(destination))

    async def delete(self, destination: Destination[Any]) -> None:
        """Remove a destination and what it holds. Raises InvalidDestinationError if it is not there."""
        await self._call(lambda: self.link.driver.delete(destination))
        if destination in self._temporary:
            self._temporary.remove(destination)

    async def purge(self, destination: Destination[Any], subscription: str | None = None) -> int:
        """Empty a queue or a subscription; return how many messages went."""
        self.capabilities.require("purge", f"purge({destination})")
        return await self._call(lambda: self.link.driver.purge(destination, subscription))

    async def inspect(self) -> Sequence[DestinationInfo]:
        """Return what there is: queues, topics where known, subscriptions, with depth and consumers (None: unknown)."""
        self.capabilities.require("inspect", "inspect()")
        return await self._call(lambda: self.link.driver.inspect())

    async def _call(self, call: Callable[[], Awaitable[R]]) -> R:
        self.link.check()
        self._check_process()
        return await self.link.retry(call)

    def native(self) -> object:
        """Return the broker client's own object; each backend's documentation says what it is."""
        return self.link.driver.native()

    def health(self) -> Health:
        """Return how the connection is; asks nobody."""
        producers = [producer for session in (self._plain, *self._sessions) for producer in session.producers]
        consumers = [consumer for session in self._sessions for consumer in session.consumers]
        return Health(
            self.link.state,
            self.link.since,
            self._url,
            self.link.reconnects,
            len(producers),
            len(consumers),
            sum(producer.unconfirmed for producer in producers),
            sum(consumer.in_hand for consumer in consumers),
            self._past[0] + sum(consumer.stale for consumer in consumers),
            self._past[1] + sum(consumer.dropped for consumer in consumers),
            self._past[2] + sum(consumer.expired for consumer in consumers),
        )

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise IllegalStateError("this connection was made before a fork: connect anew in the child process")

    async def _restore(self) -> None:
        """Bring back, on a new connection, what the old one had."""
        # Copies, for what is closed meanwhile leaves the lists; what is opened waits until the link is up.
        for destination in list(self._temporary):
            await self.link.driver.declare(destination)
        for consumer in [consumer for session in self._sessions for consumer in session.consumers]:
            await consumer.restore()

    # The end.

    async def drain(self, timeout: float | None = None) -> bool:
        """Stop receiving, wait for what is in hand to be settled and for what was submitted to be confirmed, and close.

        Loops over consumers end, `receive` raises ClosedError. Return False if `timeout` seconds were not enough: what
        was in hand then goes back to the broker.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        # Answers go on arriving: a handler that is not done yet may be waiting for one.
        consumers = [consumer for session in self._sessions for consumer in session.consumers if not self._requests.listens(consumer)]
        done = True
        try:
            async with asyncio.timeout(timeout):
                for consumer in consumers:
                    await consumer.stop()
                for consumer in consumers:
                    await consumer.emptied()
        except TimeoutError:
            done = False
        await self.close(None if deadline is None else max(0.5, deadline - time.monotonic()))
        return done

    async def close(self, timeout: float | None = 30.0) -> None:
        """Send what was submitted, give back what is in hand, and disconnect; at most `timeout` seconds for the sending.

        Failures that nobody has looked at are raised as an ExceptionGroup.
        """
        await self._ending(lambda: self._close(timeout), "unimsg close connection")

    async def _close(self, timeout: float | None) -> None:
        if self.link.state == "closed":
            self._abort()
            await self.link.close()
            return
        failures: list[Exception] = []
        try:
            async with asyncio.timeout(timeout):
                await self._requests.close()
                for session in (self._plain, *self._sessions[:]):
                    try:
                        await session.close()
                    except ExceptionGroup as group:
                        failures.extend(group.exceptions)
        except TimeoutError:
            log.warning("%s: closing took more than %s s; what is unconfirmed fails", self._url, timeout)
        finally:
            self._abort()
            await self.link.close()
        if failures:
            raise ExceptionGroup(f"{len(failures)} of the submitted messages were not sent", failures)

    def _abort(self) -> None:
        for session in (self._plain, *self._sessions):
            for producer in session.producers:
                producer.outbox.abort(ClosedError("the connection was closed before this was confirmed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await leave(self.close(), error)

    def __repr__(self) -> str:
        return f"<Connection {self._url} {self.link.state}>"
