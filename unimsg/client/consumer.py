"""The consumer: `receive`, `async for`, and the settling of what it has handed out.

    broker ──fetch──> buffer ──receive──> in hand ──acknowledge──> settled
                        │                   ├──release, recover──> again (count + 1)
                        └──close: unseen    └──reject, spent─────> dead-letter queue

AUTO: `receive` acknowledges as it returns and waits for that acknowledgement before it returns the next one, so that
only the last message is in doubt after a crash (JMS 3.1 §6.2.10). In `async for` the message in the loop's body is
acknowledged when the loop asks for the next one, or the consumer is left normally.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from unimsg import wire
from unimsg.client.ledger import Ledger
from unimsg.client.mode import Mode
from unimsg.client.waiting import Ending, Waiters
from unimsg.deadletter import dead_queue, letter
from unimsg.driver import Delivery, Outcome, Receiver, Settlement, Source
from unimsg.errors import ClosedError, ConnectionLostError, IllegalStateError, MessageFormatError, UnimsgError
from unimsg.headers import check_seconds
from unimsg.message import ReceivedMessage

if TYPE_CHECKING:
    from types import TracebackType

    from unimsg.client.options import RedeliveryPolicy
    from unimsg.client.session import Session
    from unimsg.selector import Selector

__all__ = ["Consumer"]

T = TypeVar("T")
LAZY = 100
"""Acknowledgements that DUPS_OK keeps back at most."""


class Consumer(Generic[T]):
    """Receive messages from a queue, a topic, a pattern or a subscription (JMS 3.1 §8)."""

    def __init__(self, session: Session, source: Source, policy: RedeliveryPolicy, selector: Selector | None, prefetch: int, private: bool) -> None:
        """Be made by `connection.consumer(...)` or `session.consumer(...)`; `selector` is what the backend leaves to us."""
        self._session = session
        self._link = session.link
        self._source = source
        self._policy = policy
        self._selector = selector
        self._prefetch = prefetch
        self._private = private
        self._mode = session.mode
        self._body_type = source.destination.body_type
        self._skip_origin = session.foreign_origin if source.no_local else None
        self._buffer: deque[Delivery] = deque()
        self._hand: dict[int, Delivery] = {}
        self._shown: set[int] = set()
        self._looped: Delivery | None = None
        self._new_loop = False
        self._fetching = asyncio.Lock()
        self._stop: asyncio.Future[None] | None = None
        self._looked = Waiters()
        self._state = "open"
        self._ended = False
        self._leaving = Ending()
        self._letting_go = Ending()
        self._empty = Waiters()
        self._stale = 0
        self._dropped = 0
        self._receiver: Receiver
        self._ledger: Ledger
        self.expired = 0

    # Life.

    async def open(self) -> Self:
        """Get a receiver that can receive already (the client calls this)."""
        await self._link.retry(self._attach)
        return self

    async def _attach(self) -> None:
        generation = self._link.generation
        receiver = await self._link.driver.receiver(self._source, self._prefetch)
        if generation != self._link.generation:
            raise ConnectionLostError("the connection was lost while this consumer was opened")
        self._receiver = receiver
        self._ledger = Ledger(self._link, self._receiver, LAZY if self._mode is Mode.DUPS_OK else 1)

    async def restore(self) -> None:
        """Receive again on a new connection; what was not settled on the old one the broker has given back."""
        if self._ended:
            return
        self._stale += self._ledger.strike()
        self._dropped += self._receiver.dropped()
        self._buffer.clear()
        self._shown.clear()
        self._drop_hand()
        if self._state != "closed":
            await self._attach()
        if self._state == "closed":  # since before the loss, with something in hand, or while it was restored
            if self._ended:
                await self._link.quietly(self._receiver.close())
            await self.end()

    def _drop_hand(self) -> None:
        if self._hand:
            self._session.lost()
        self._hand.clear()
        self._looped = None
        self._emptied()

    @property
    def source(self) -> Source:
        """Return what it receives from."""
        return self._source

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._state == "closed"

    @property
    def in_hand(self) -> int:
        """Return how many messages were handed out and are not settled."""
        return len(self._hand)

    @property
    def stale(self) -> int:
        """Return how many settlements came too late: the broker had given the message to somebody else."""
        return self._stale + self._ledger.stale

    @property
    def dropped(self) -> int:
        """Return how many messages the overflow policy has dropped."""
        return self._dropped + self._receiver.dropped()

    # Receiving.

    @overload
    async def receive(self) -> ReceivedMessage[T]: ...
    @overload
    async def receive(self, timeout: None) -> ReceivedMessage[T]: ...
    @overload
    async def receive(self, timeout: float) -> ReceivedMessage[T] | None: ...
    async def receive(self, timeout: float | None = None) -> ReceivedMessage[T] | None:
        """Return the next message, waiting for it at most `timeout` seconds (then None; 0 looks once).

        Raises ClosedError when the consumer is or gets closed, SlowConsumerError.
        """
        if self._looped is not None:
            await self._release_looped()
        return await self._next(timeout, looping=False)

    async def _next(self, timeout: float | None, looping: bool) -> ReceivedMessage[T] | None:
        if self._mode is Mode.AUTO and self._ledger.pending:
            await self._ledger.flush()
        if self._session.committing:
            await self._session.settled()
        deadline: float | None = None
        while True:
            if self._state != "open" or self._link.state == "closed":
                self._check()
            while self._buffer:
                delivery = self._buffer.popleft()
                if self._shown:
                    self._shown.discard(id(delivery))
                judged = self._judge(delivery)
                if isinstance(judged, str):
                    await self._set_aside(delivery, judged)
                    continue
                self._take(delivery, looping)  # from here to the return there is no await: it is taken, or it is not
                return judged.delivered(delivery.count, self, delivery, self._body_type)
            if timeout is None:
                await self._fetch(None)
            elif timeout == 0:  # until a look finds nothing: what was found may have been set aside
                await self._fetch(0)
                if not self._buffer:
                    return None
            elif deadline is None:
                deadline = time.monotonic() + check_seconds("timeout", timeout)
                await self._fetch(timeout)
            else:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                await self._fetch(left)

    def _check(self) -> None:
        self._link.check()
        if self._state != "open":
            raise ClosedError("this consumer is closed" if self._state == "closed" else "this consumer is draining")

    async def _fetch(self, timeout: float | None) -> None:
        """Get something into the buffer, or return after `timeout` seconds, or when the consumer stops."""
        if self._ledger.pending:
            await self._ledger.flush()
        if timeout == 0 and self._fetching.locked():
            if self._stop is None:  # somebody is looking; who has looked and waits has found nothing
                await self._looked.wait()
            return
        try:
            async with asyncio.timeout(timeout or None):
                async with self._fetching:
                    if self._buffer or self._state != "open":
                        return
                    try:
                        receiver = self._receiver
                        found = await receiver.receive(self._prefetch, 0)
                        if receiver is self._receiver:
                            self._buffer.extend(found)
                        if not self._buffer and timeout != 0 and self._state == "open":  # a look may take a while: it may be closed by now
                            await self._wait()
                    except Exception as error:
                        if self._state != "open":
                            return
                        if not self._link.is_retryable(error):
                            raise self._link.error_of(error) from error
                        if timeout == 0:
                            return
                        await self._unless_stopped(self._link.recovered())
                    finally:
                        self._looked.wake()
        except TimeoutError:
            return

    async def _wait(self) -> None:
        """Let the driver wait for something."""
        receiver = self._receiver

        def arrived(task: asyncio.Task[list[Delivery]]) -> None:
            # Whatever became of the one who waited: what the driver has handed over is not lost.
            if not task.cancelled() and task.exception() is None and receiver is self._receiver:
                self._buffer.extend(task.result())
                self._poke()

        task = asyncio.get_running_loop().create_task(receiver.receive(self._prefetch, None), name="unimsg receive")
        task.add_done_callback(arrived)
        await self._unless_stopped(task)

    async def _unless_stopped(self, awaitable: Awaitable[object]) -> None:
        """Wait for something, in a task of its own so that closing, or a message from elsewhere, can interrupt it."""
        task = asyncio.ensure_future(awaitable)
        self._stop = asyncio.get_running_loop().create_future()
        self._looked.wake()
        try:
            await asyncio.wait((task, self._stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stop = None
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        if not task.cancelled():
            task.result()

    def _poke(self) -> None:
        """Let whoever waits look again: at the buffer, and at our state."""
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(None)

    def _judge(self, delivery: Delivery) -> ReceivedMessage[Any] | str:
        """Return the message, or why it is not for the application: `expired`, `unselected`, or the reason of a dead letter."""
        try:
            message = wire.decode(delivery.frame.data)
        except MessageFormatError as error:
            return f"it is no unimsg stanza: {error}"
        most = self._policy.max_deliveries
        if most is not None and delivery.count > most:
            return f"delivered {delivery.count - 1} times without being settled"
        expiration = message.head.get("expiration")
        if expiration is not None and expiration <= datetime.now(UTC):
            return "expired"
        if self._selector is not None and not self._selector.matches_message(message):
            return "unselected"
        if self._skip_origin is not None and message.origin == self._skip_origin:
            return "unselected"
        return message

    async def _set_aside(self, delivery: Delivery, why: str) -> None:
        if why in ("expired", "unselected"):
            self.expired += why == "expired"
            self._ledger.add(Settlement(delivery.token))
            return
        receiver = self._receiver
        try:
            await self._bury(delivery, why)
        except BaseException:
            if receiver is self._receiver and not self._ended:
                self._buffer.appendleft(delivery)
            raise

    def _take(self, delivery: Delivery, looping: bool) -> None:
        if looping and self._mode is Mode.AUTO:
            self._looped = delivery
            self._hand[id(delivery)] = delivery
        elif self._mode is Mode.AUTO or self._mode is Mode.DUPS_OK:
            self._ledger.add(Settlement(delivery.token))
        else:
            self._hand[id(delivery)] = delivery

    def __aiter__(self) -> Self:
        self._new_loop = True
        return self

    async def __anext__(self) -> ReceivedMessage[T]:
        if self._looped is not None and self._new_loop:
            await self._release_looped()
        self._new_loop = False
        if (looped := self._looped) is not None:
            self._looped = None
            if self._hand.pop(id(looped), None) is not None:
                self._ledger.add(Settlement(looped.token))
                self._emptied()
        try:
            message = await self._next(None, looping=True)
        except ClosedError:
            if self._state == "open" and self._link.state != "closed":
                raise
            raise StopAsyncIteration from None
        assert message is not None  # noqa: S101  (without a time-out there is one)
        return message

    # Settling: what messages call.

    async def acknowledge(self, message: ReceivedMessage[Any]) -> None:
        """Settle a message as processed, in the way of the session's mode."""
        if self._mode is Mode.CLIENT:
            await self._session.acknowledge()
        elif self._mode is Mode.INDIVIDUAL:
            await self._settle(message.delivery, Settlement(message.delivery.token))

    async def release(self, message: ReceivedMessage[Any], delay: float) -> None:
        """Give a message back, or, if it has had its chances, to the dead-letter queue."""
        self._individual("release")
        delivery: Delivery = message.delivery
        seconds = check_seconds("delay", delay)
        if seconds:
            self._session.capabilities.require("release_delay", "release(delay=)")
        elif self._session.capabilities.supports("release_delay"):
            seconds = self._policy.rest(delivery.count)
        if self._policy.spent(delivery.count):
            await self._dead(delivery, f"released after {delivery.count} deliveries")
        else:
            await self._settle(delivery, Settlement(delivery.token, Outcome.RELEASE, seconds))

    async def reject(self, message: ReceivedMessage[Any], reason: str) -> None:
        """Send a message to the dead-letter queue."""
        self._individual("reject")
        await self._dead(message.delivery, reason or "rejected")

    async def extend(self, message: ReceivedMessage[Any], seconds: float) -> None:
        """Hold a message for at least `seconds` more."""
        self._session.capabilities.require("extend", "extend()")
        seconds = check_seconds("seconds", seconds)
        delivery: Delivery = message.delivery
        if id(delivery) in self._hand and await self._receiver.extend([delivery.token], seconds):
            raise IllegalStateError("this message is no longer ours: its lease ran out, and it was given to somebody else")

    def _individual(self, what: str) -> None:
        if self._mode is not Mode.INDIVIDUAL:
            raise IllegalStateError(f"{what} belongs to individual mode; this consumer is in {self._mode.value} mode")

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        if self._hand.pop(id(delivery), None) is None:
            return  # settled before, or from a connection that is gone: the broker knows better
        self._ledger.add(settlement)
        self._emptied()
        await self._ledger.flush()
        await self.end_if_closed()

    async def _dead(self, delivery: Delivery, reason: str) -> None:
        if self._hand.pop(id(delivery), None) is None:
            return
        receiver = self._receiver
        try:
            await self._bury(delivery, reason)
        except BaseException:
            if receiver is self._receiver and not self._ended:
                self._hand[id(delivery)] = delivery
            raise
        self._emptied()
        await self.end_if_closed()

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        """Send the dead letter and settle the message, together, so that nothing falls between."""
        to = self._policy.dead_letter or dead_queue(self._source, delivery)
        frame = letter(delivery, delivery.frame.route.destination, to, reason, self._session.fresh_id())
        try:
            await self._link.driver.commit([frame], [(self._receiver, [Settlement(delivery.token)])])
        except Exception as error:
            if self._link.is_retryable(error):
                return  # the connection is gone, and with it our hold on the message: it will come again
            ours = self._link.error_of(error)
            if isinstance(ours, UnimsgError) and ours.retryable:
                return  # somebody else has it already
            raise ours from error

    # What the session does with all that is in hand.

    def settle_hand(self) -> None:
        """Write an acknowledgement for everything in hand."""
        for delivery in self._hand.values():
            self._ledger.add(Settlement(delivery.token))
        self._hand.clear()
        self._emptied()

    async def flush(self) -> None:
        """Wait for what was written to be settled."""
        await self._ledger.flush()

    def hand(self) -> list[Delivery]:
        """Return what a commit has to settle."""
        return list(self._hand.values())

    def settling(self, deliveries: Iterable[Delivery]) -> tuple[Receiver, list[Settlement]]:
        """Return what a driver needs to settle them in a commit."""
        return self._receiver, [Settlement(delivery.token) for delivery in deliveries]

    def forget(self, deliveries: Iterable[Delivery]) -> None:
        """Take them as settled: a commit did it."""
        for delivery in deliveries:
            self._hand.pop(id(delivery), None)
        self._emptied()

    def recover(self, deliveries: Iterable[Delivery], to_broker: bool = False) -> None:
        """Put them back, in order and counted: at the front of the buffer, or, closed, to the broker with the next flush."""
        ours = [delivery for delivery in deliveries if self._hand.pop(id(delivery), None) is not None]
        self._looped = None
        if to_broker or self._state == "closed":
            for delivery in ours:
                self._ledger.add(Settlement(delivery.token, Outcome.RELEASE))
        else:
            again = [delivery._replace(count=delivery.count + 1) for delivery in ours]
            self._shown.update(map(id, again))
            self._buffer.extendleft(reversed(again))
            self._poke()
        self._emptied()

    # The end.

    async def _release_looped(self) -> None:
        """Give back the message of a loop that was left by something that was not its end."""
        delivery, self._looped = self._looped, None
        if delivery is None or self._hand.pop(id(delivery), None) is None:
            return
        self._emptied()
        if self._policy.spent(delivery.count):
            await self._bury(delivery, f"failed in {delivery.count} deliveries")
            return
        seconds = self._policy.rest(delivery.count) if self._session.capabilities.supports("release_delay") else 0.0
        self._ledger.add(Settlement(delivery.token, Outcome.RELEASE, seconds))
        await self._ledger.flush()

    async def stop(self) -> None:
        """Hand out nothing more; what nobody has seen goes back; what is in hand may still be settled."""
        if self._state == "open":
            self._state = "draining"
        self._poke()
        async with self._fetching:  # whoever was fetching has come back, with what came
            await self._give_back(self._buffer)

    async def _give_back(self, deliveries: Iterable[Delivery]) -> None:
        # What was recovered here and not shown again has been delivered all the same: it goes back as released.
        for delivery in deliveries:
            outcome = Outcome.RELEASE if id(delivery) in self._shown else Outcome.UNSEEN
            self._ledger.add(Settlement(delivery.token, outcome))
        self._shown.clear()
        self._buffer.clear()
        await self._ledger.flush()

    async def emptied(self) -> None:
        """Wait until nothing is in hand."""
        while self._hand:
            await self._empty.wait()

    def _emptied(self) -> None:
        if not self._hand:
            self._empty.wake()

    async def close(self) -> None:
        """Stop receiving; in a session, what is in hand stays the session's (JMS 3.1 §8.6); else it goes back."""
        await self._leave(failed=False)

    async def _leave(self, failed: bool) -> None:
        """Close; cancelled, that goes on."""
        await self._leaving(lambda: self._close(failed), "unimsg close consumer")

    async def _close(self, failed: bool) -> None:
        if self._state == "closed":
            return
        looped = self._looped
        if looped is not None and not failed:
            self._looped = None
            if self._hand.pop(id(looped), None) is not None:
                self._ledger.add(Settlement(looped.token))
        try:
            if self._link.state == "up":
                await self.stop()
                if failed:
                    await self._release_looped()
                await self._ledger.flush()
        finally:
            self._state = "closed"
            self._poke()
            if self._private:
                await self.end()
                self._session.retire()
            elif not self._hand:
                await self.end()

    async def end(self) -> None:
        """Let go of the receiver; what is in hand goes back to the broker (the session calls this)."""
        self._state = "closed"
        self._poke()
        await self._letting_go(self._end, "unimsg detach")

    async def end_if_closed(self) -> None:
        """Let go of the receiver if this was closed while something was in hand, and nothing is any more."""
        if self._state == "closed" and not self._hand:
            await self.end()

    async def _end(self) -> None:
        self._ended = True
        self._hand.clear()
        self._emptied()
        if self._ledger.current:
            await self._link.quietly(self._receiver.close())
        self._session.gone(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._leave(failed=error is not None)
