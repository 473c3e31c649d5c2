"""The session: the unit of CLIENT acknowledge, of recover, and of transactions.

A local transaction shows nothing to anyone before its commit, so nothing is open on the broker meanwhile: the session
keeps what it has sent and what it has in hand, and the commit hands both to the driver in one call. Rollback and recover
put the deliveries back at the front of the session's own buffers, in order (a broker's requeue does not keep it).
Source: Jakarta Messaging 3.1 §6.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from unimsg.capabilities import Capabilities
from unimsg.client.mode import Mode
from unimsg.client.opening import Opening, leave
from unimsg.client.options import ConsumerOptions, SendOptions, check_policy, consumer_options
from unimsg.client.producer import Producer
from unimsg.client.source import source_of
from unimsg.client.waiting import Ending
from unimsg.destination import Destination
from unimsg.driver import Frame
from unimsg.errors import ClosedError, IllegalStateError, TransactionRolledBackError, UnimsgError

if TYPE_CHECKING:
    from types import TracebackType

    from unimsg.client.connection import Connection
    from unimsg.client.consumer import Consumer
    from unimsg.client.link import Link

__all__ = ["Session"]

T = TypeVar("T")


class Session:
    """A single-threaded row of sends and receipts that are settled in one way, its mode."""

    def __init__(self, connection: Connection, mode: Mode) -> None:
        """Be made by `connection.session(mode)`."""
        self._connection = connection
        self.link: Link = connection.link
        self.mode = mode
        self._sends: list[Frame] = []
        self._consumers: list[Consumer[Any]] = []
        self._producers: list[Producer[Any]] = []
        self._broken = False
        self._closed = False
        self._ending = Ending()
        self._commit: asyncio.Task[None] | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Return what the backend can do."""
        return self._connection.capabilities

    @property
    def foreign_origin(self) -> str | None:
        """Return the origin that no_local hides, where the broker leaves that to us."""
        return None if self.capabilities.native("no_local") else self._connection.client_id or self._connection.connection_id

    def fresh_id(self) -> str:
        """Return a new message id."""
        return self._connection.stamper.next_id()

    # What it makes.

    @overload
    def producer(self, destination: None = None, **defaults: Unpack[SendOptions]) -> Opening[Producer[Any]]: ...
    @overload
    def producer(self, destination: Destination[T], **defaults: Unpack[SendOptions]) -> Opening[Producer[T]]: ...
    def producer(self, destination: Destination[Any] | None = None, **defaults: Unpack[SendOptions]) -> Opening[Producer[Any]]:
        """Make a producer; in transacted mode what it sends travels with the commit."""
        return Opening(lambda: self.make_producer(destination, defaults))

    async def make_producer(self, destination: Destination[T] | None, defaults: SendOptions) -> Producer[T]:
        """Build and open a producer."""
        self._check()
        if destination is not None:
            self.capabilities.require(destination.feature, str(destination))
        producer: Producer[T] = Producer(self, self._connection.stamper, destination, defaults)
        await producer.open()
        self._producers.append(producer)
        return producer

    def consumer(self, source: Destination[T], **options: Unpack[ConsumerOptions]) -> Opening[Consumer[T]]:
        """Make a consumer in this session's mode; the options are those of `connection.consumer`."""
        return Opening(lambda: self.make_consumer(source, options, private=False))

    async def make_consumer(self, destination: Destination[T], options: ConsumerOptions, private: bool) -> Consumer[T]:
        """Build and open a consumer."""
        from unimsg.client.consumer import Consumer

        self._check()
        said = consumer_options(options)
        prefetch, redelivery = said["prefetch"], said["redelivery"]
        if type(prefetch) is not int or not 1 <= prefetch <= 65_535:
            raise ValueError(f"prefetch is an int of 1 to 65535 (messages read ahead), not {prefetch!r:.40}")
        connection = self._connection
        source, selector = source_of(destination, said, self.capabilities, connection.connection_id, connection.client_id)
        policy = check_policy(redelivery) if redelivery is not None else connection.redelivery
        consumer: Consumer[T] = Consumer(self, source, policy, selector, prefetch, private)
        await consumer.open()
        self._consumers.append(consumer)
        return consumer

    def gone(self, child: Consumer[Any] | Producer[Any]) -> None:
        """Hear that a consumer or producer holds nothing of the driver's any more."""
        children: list[Any] = self._producers if isinstance(child, Producer) else self._consumers
        if child in children:
            children.remove(child)
            if not isinstance(child, Producer):
                self._connection.count(child)

    # What it does.

    def hold(self, frame: Frame) -> None:
        """Keep a frame for the commit."""
        self._check()
        self._sends.append(frame)

    def lost(self) -> None:
        """Hear that deliveries of the open transaction went with a lost connection."""
        self._broken = True

    async def acknowledge(self) -> None:
        """Settle all that this session has delivered (CLIENT mode; elsewhere it does nothing, as in JMS)."""
        if self.mode is not Mode.CLIENT:
            return
        for consumer in self._consumers:
            consumer.settle_hand()
        for consumer in list(self._consumers):
            await consumer.flush()
        await self._end_closed()

    async def recover(self) -> None:
        """Deliver again, in order and marked redelivered, what was delivered and not acknowledged (§6.2.11)."""
        self._check()
        if self.mode is Mode.TRANSACTED:
            raise IllegalStateError("recover is not for transacted sessions: roll back")
        await self._recover(to_broker=False)

    async def commit(self) -> None:
        """Settle all that was received and send all that was sent, together.

        Raises TransactionRolledBackError where nothing was done and the work may be done again. Cancelled, it is
        carried out all the same; the next call on this session waits for it.
        """
        self._transacted("commit")
        await self._finish_commit()
        self._commit = asyncio.get_running_loop().create_task(self._do_commit(), name="unimsg commit")
        await self._finish_commit(look=True)

    async def _finish_commit(self, look: bool = False) -> None:
        while (task := self._commit) is not None:
            if look:
                await asyncio.shield(task)
            else:
                await asyncio.wait((task,))
                if not task.cancelled():
                    task.exception()  # it belongs to whoever was cancelled while waiting for it
            if self._commit is task:
                self._commit = None

    @property
    def committing(self) -> bool:
        """Tell whether there may be a commit under way."""
        return self._commit is not None

    async def settled(self) -> None:
        """Wait until no commit is under way: what is received and sent from now on is of the next transaction."""
        await self._finish_commit()

    async def _do_commit(self) -> None:
        if self._broken:
            await self._undo(to_broker=False)
            raise TransactionRolledBackError("the connection was lost in the middle of the transaction; its messages will be delivered again")
        # Noted once: other tasks may receive and send while this is under way.
        holding = [(consumer, consumer.hand()) for consumer in self._consumers if consumer.in_hand]
        if not self._sends and not holding:
            return
        await self.link.up()
        sends, self._sends = self._sends, []
        try:
            await self.link.driver.commit(sends, [consumer.settling(deliveries) for consumer, deliveries in holding])
        except Exception as error:
            ours = self.link.error_of(error)
            # To the broker, not to our own buffers: which of the deliveries are still ours only the broker knows.
            self._broken = False
            for consumer, deliveries in holding:
                consumer.recover(deliveries, to_broker=True)
            await self._flush()
            if ours is error:
                raise
            raise ours from error
        for consumer, deliveries in holding:
            consumer.forget(deliveries)
        await self._end_closed()

    async def rollback(self) -> None:
        """Forget what was sent, and deliver again, in order, what was received."""
        self._transacted("rollback")
        await self._finish_commit()
        await self._undo(to_broker=False)

    async def _undo(self, to_broker: bool) -> None:
        self._sends.clear()
        self._broken = False
        await self._recover(to_broker)

    async def _recover(self, to_broker: bool) -> None:
        # All at once, then the broker: a cancellation finds either nothing undone or everything.
        for consumer in self._consumers:
            consumer.recover(consumer.hand(), to_broker)
        await self._flush()

    async def _flush(self) -> None:
        for consumer in list(self._consumers):
            await consumer.flush()
        await self._end_closed()

    async def _end_closed(self) -> None:
        """Let go of consumers that were closed while something of theirs was in hand."""
        for consumer in list(self._consumers):
            await consumer.end_if_closed()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """Commit at the end, or roll back on an exception, which goes on."""
        self._transacted("transaction")
        try:
            yield self
        except BaseException as error:
            try:
                await self.rollback()
            except UnimsgError as failed:  # the application's own error, or its cancellation, is the one to see
                error.add_note(f"besides, {failed}")
            raise
        await self.commit()

    def _transacted(self, what: str) -> None:
        self._check()
        if self.mode is not Mode.TRANSACTED:
            raise IllegalStateError(f"{what} is for transacted sessions; this one is in {self.mode.value} mode")

    def _check(self) -> None:
        self.link.check()
        if self._closed:
            raise ClosedError("this session is closed")

    # The end.

    @property
    def in_hand(self) -> int:
        """Return how many messages were handed out and are not settled."""
        return sum(consumer.in_hand for consumer in self._consumers)

    @property
    def consumers(self) -> list[Consumer[Any]]:
        """Return the consumers that hold something of the driver's."""
        return self._consumers

    @property
    def producers(self) -> list[Producer[Any]]:
        """Return the producers."""
        return self._producers

    async def close(self) -> None:
        """Roll back what is open, give back what is in hand, send what was submitted, and close all that it made; cancelled, that goes on."""
        self._closed = True
        await self._ending(self._close, "unimsg close session")

    def retire(self) -> None:
        """End with the one consumer that this was made for: it has closed itself."""
        self._closed = True
        self._connection.ended(self)

    async def _close(self) -> None:
        await self._finish_commit()
        self._sends.clear()
        failures: list[Exception] = []
        for producer in list(self._producers):
            try:
                await producer.close()
            except UnimsgError as error:
                failures.append(error)
            except ExceptionGroup as group:
                failures.extend(group.exceptions)
        for consumer in list(self._consumers):
            await consumer.close()
            await consumer.end()
        self._connection.ended(self)
        if failures:
            raise ExceptionGroup(f"{len(failures)} of the submitted messages were not sent", failures)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await leave(self.close(), error)
