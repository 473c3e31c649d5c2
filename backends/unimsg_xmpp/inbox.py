"""What has arrived in this process and waits to be received: a receiver for what no service lends.

Everything here dies with the process. A delivery that is released goes back to its place, counted; to its front, for it was
the oldest. Used by pubsub subscriptions and by queues that are addresses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from unimsg.driver import Delivery, Frame, Outcome, Overflow, Settlement
from unimsg.errors import ClosedError, SlowConsumerError, UnimsgError

__all__ = ["Inbox"]


class Inbox:
    """A bounded buffer that is a `Receiver`."""

    def __init__(self, overflow: Overflow, check: Callable[[], None], on_close: Callable[[Inbox], Any]) -> None:
        """Take what to do when it is full, what raises when the connection is gone, and what unsubscribes it."""
        self._overflow = overflow
        self._check_connection = check
        self._on_close = on_close
        self._buffer: deque[Delivery] = deque()
        self._held: dict[int, Delivery] = {}
        self._count = 0
        self._dropped = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._failure: UnimsgError | None = None
        self._closed = False
        self._room: deque[Callable[[], None]] = deque()

    # What arrives.

    @property
    def full(self) -> bool:
        """Tell whether its limit is reached."""
        return len(self._buffer) >= self._overflow.limit

    def __len__(self) -> int:
        return len(self._buffer)

    def put(self, frame: Frame, *, soft: bool = False) -> None:
        """Take a message; over the limit the policy says which goes, unless the limit is soft: who sends waits for its answer."""
        if self._closed or self._failure is not None:
            return
        if self.full and not soft:
            self._dropped += 1
            if self._overflow.policy != "drop":
                self.fail(SlowConsumerError(f"the subscription to {frame.route.destination} is {self._overflow.limit} messages behind and was cut"))
                return
            self._buffer.popleft()
        self._count += 1
        self._buffer.append(Delivery(frame, self._count, 1))
        self._wake()

    def when_room(self, call: Callable[[], None]) -> None:
        """Call it as soon as there is room: now, maybe."""
        if self.full and not self._closed:
            self._room.append(call)
        else:
            call()

    def fail(self, error: UnimsgError) -> None:
        """Give nothing more than what is here; then this error."""
        self._failure = self._failure or error
        self._wake()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    # What the contract wants.

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("the receiver is closed")
        self._check_connection()
        if self._failure is not None and not self._buffer:
            raise self._failure

    async def receive(self, limit: int, timeout: float | None) -> list[Delivery]:
        """Return what is here, or wait for it; the server pushes, so there is nothing to ask for."""
        self._check()
        if not self._buffer and timeout != 0:
            loop = asyncio.get_running_loop()
            end = None if timeout is None else loop.time() + timeout
            while not self._buffer:
                future: asyncio.Future[None] = loop.create_future()
                self._waiting.add(future)
                try:
                    async with asyncio.timeout_at(end):
                        await future
                except TimeoutError:
                    break
                finally:
                    self._waiting.discard(future)
                self._check()
        elif timeout == 0:
            await asyncio.sleep(0)
        buffer = self._buffer
        found = [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        self._held.update((delivery.token, delivery) for delivery in found)
        while self._room and not self.full:
            self._room.popleft()()
        return found

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Any]:
        """Forget what was accepted; put the rest back."""
        stale = []
        for token, outcome, delay in reversed(settlements):  # so that several that go back keep their order
            delivery = self._held.pop(token, None)
            if delivery is None or self._closed:
                stale.append(token)
            elif outcome is Outcome.RELEASE:
                self._again(delivery._replace(count=delivery.count + 1), delay)
            elif outcome is Outcome.UNSEEN:
                self._again(delivery, 0.0)
        return stale

    def _again(self, delivery: Delivery, delay: float) -> None:
        if delay <= 0:
            self._buffer.appendleft(delivery)
            self._wake()
            return

        def due() -> None:
            self._timers.discard(timer)
            self._again(delivery, 0.0)

        timer = asyncio.get_running_loop().call_later(delay, due)
        self._timers.add(timer)

    async def extend(self, tokens: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Return the stale ones; what is in this process is lent for as long as it lives."""
        del seconds
        return [token for token in tokens if token not in self._held]

    def dropped(self) -> int:
        """Return how many messages were dropped here."""
        return self._dropped

    def left(self) -> list[Delivery]:
        """Return what nobody has settled, oldest first: those handed out count as delivered."""
        again = [delivery._replace(count=delivery.count + 1) for delivery in self._held.values()]
        return sorted((*again, *self._buffer), key=lambda delivery: delivery.token)

    async def close(self) -> None:
        """Stop; what is here is gone, unless `on_close` has a use for it."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        while self._room:
            self._room.popleft()()
        self._wake()
        done = self._on_close(self)
        if done is not None:
            await done
