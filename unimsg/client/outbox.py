"""The outbox of a producer: what waits to be sent travels as one batch, and is sent again after a lost connection.

One batch is in flight at a time, so the order of a producer is kept. A frame leaves the outbox only when the broker has
confirmed it, or when it has failed for good.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unimsg.client.receipt import Receipt
from unimsg.client.waiting import Waiters
from unimsg.errors import ClosedError, PartialSendError

if TYPE_CHECKING:
    from unimsg.client.link import Link
    from unimsg.destination import Destination
    from unimsg.driver import Sender

__all__ = ["Outbox"]

MAX_MESSAGES = 1000
MAX_BYTES = 8 * 2**20
"""What an outbox holds before `submit` waits: memory is bounded by it, and so is what a crash leaves unconfirmed."""
BATCH = 500


class Outbox:
    """Hold receipts until they are confirmed."""

    def __init__(self, link: Link, destination: Destination[Any] | None) -> None:
        self._link = link
        self._destination = destination
        self._sender: Sender | None = None
        self._generation = -1
        self._waiting: deque[Receipt[Any]] = deque()
        self._in_flight = 0
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._busy = False
        self._room = Waiters()
        self._idle = Waiters()
        self._failed: list[Receipt[Any]] = []
        self._closed = False
        self.tight = False
        """Whether `room` would wait, or refuse."""

    @property
    def unconfirmed(self) -> int:
        """Return how many messages are neither confirmed nor failed."""
        return len(self._waiting) + self._in_flight

    async def open(self) -> None:
        """Get a sender, which declares the destination."""
        await self._link.retry(self._renew)

    async def _renew(self) -> Sender:
        if self._sender is None or self._generation != self._link.generation:
            generation = self._link.generation
            self._sender = await self._link.driver.sender(self._destination)
            self._generation = generation
        return self._sender

    async def room(self) -> None:
        """Wait until there is room for one more."""
        while self.tight and not self._closed:
            self._link.check()
            await self._room.wait()
        if self._closed:
            raise ClosedError("this producer is closed")

    def add(self, receipt: Receipt[Any]) -> None:
        """Put it in; it is sent when the event loop gets its turn, together with what else is there by then."""
        self._waiting.append(receipt)
        self._bytes += receipt.size
        if len(self._waiting) + self._in_flight >= MAX_MESSAGES or self._bytes >= MAX_BYTES:
            self.tight = True
        if not self._busy:
            self._start()

    def _start(self) -> None:
        self._busy = True
        self._task = asyncio.get_running_loop().create_task(self._run(), name="unimsg outbox")
        self._task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        # Cancelled it was by a loop that ends its tasks, maybe before its first step; who flushes must not wait for ever.
        if task is self._task and task.cancelled():
            self._busy = False
            if self._waiting:
                self._start()
            else:
                self._wake()

    async def send(self, receipt: Receipt[Any]) -> None:
        """Send one and wait for its confirmation; alone, it needs no task."""
        if self._busy or self._waiting:
            self.add(receipt)
            await receipt
            return
        self._busy = True
        self._in_flight = 1
        size = receipt.size
        self._bytes += size
        try:
            # Whoever cancels here has a send of unknown outcome, as the API says; nobody else's frame is in this call.
            await self._deliver([receipt])
        except asyncio.CancelledError:
            receipt.settle(ClosedError("the send was cancelled: its outcome is unknown"))
            receipt.seen = True
            raise
        finally:
            self._in_flight = 0
            self._bytes -= size
            self._busy = False
            self._wake()
            if self._waiting:
                self._start()
        await receipt

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._in_flight = len(batch)
                try:
                    await self._deliver(batch)
                except BaseException as error:
                    for receipt in batch:
                        self._fail(receipt, ClosedError("sending was stopped: the outcome is unknown") if isinstance(error, asyncio.CancelledError) else error)
                    raise
                finally:
                    self._in_flight = 0
                    self._bytes -= sum(receipt.size for receipt in batch)
                    self._wake_room()
        finally:
            self._busy = False
            self._wake()

    async def _deliver(self, batch: Sequence[Receipt[Any]]) -> None:
        """Bring every receipt of the batch to an end, through as many connections as it takes."""
        left = list(batch)
        while left:
            try:
                # The usual case, without the detour by the link: the connection is there, and so is the sender.
                sender = self._sender if self._generation == self._link.generation and self._sender else await self._link.retry(self._renew)
                await sender.send([receipt.stamped.frame for receipt in left])
            except PartialSendError as partial:
                again = []
                for place, receipt in enumerate(left):
                    error = partial.failures.get(place)
                    if error is None:
                        receipt.settle()
                    elif self._link.is_retryable(error):
                        again.append(receipt)
                    else:
                        self._fail(receipt, self._link.error_of(error))
                left = again
                if left and not await self._again(left):
                    return
            except Exception as error:  # noqa: BLE001  (the driver's own errors are of any class)
                if not self._link.is_retryable(error) or not await self._again(left):
                    for receipt in left:
                        self._fail(receipt, self._link.error_of(error))
                    return
            else:
                for receipt in left:
                    receipt.settle()
                return

    async def _again(self, left: Sequence[Receipt[Any]]) -> bool:
        """Wait for the connection to come back; tell whether it is worth another try."""
        try:
            await self._link.recovered()
        except Exception as final:  # noqa: BLE001  (whatever ends the connection ends these)
            for receipt in left:
                self._fail(receipt, self._link.error_of(final))
            return False
        return True

    def _fail(self, receipt: Receipt[Any], error: BaseException) -> None:
        if receipt.done():
            return
        receipt.settle(error)
        if len(self._failed) >= MAX_MESSAGES:  # those that were looked at need no keeping
            self._failed = [failed for failed in self._failed if not failed.seen]
        self._failed.append(receipt)

    def _wake_room(self) -> None:
        self.tight = self._closed or len(self._waiting) + self._in_flight >= MAX_MESSAGES or self._bytes >= MAX_BYTES
        if not self.tight:
            self._room.wake()

    def _wake(self) -> None:
        self._wake_room()
        if not self._waiting:
            self._idle.wake()

    async def flush(self) -> None:
        """Wait until nothing is unconfirmed; raise the failures that nobody has looked at, as an ExceptionGroup."""
        while self._waiting or self._in_flight or self._busy:
            await self._idle.wait()
        failed, self._failed = self._failed, []
        errors = [error for receipt in failed if not receipt.seen and isinstance(error := receipt.error(), Exception)]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of the submitted messages were not sent", errors)

    async def close(self) -> None:
        """Take nothing more, send what there is, and let go of the sender. Raises as `flush` does."""
        self._closed = self.tight = True
        self._room.wake()
        try:
            await self.flush()
        finally:
            sender, self._sender = self._sender, None
            if sender is not None and self._generation == self._link.generation:
                await self._link.quietly(sender.close())

    def abort(self, error: BaseException) -> None:
        """End everything unconfirmed with an error: the connection is closed for good."""
        self._closed = self.tight = True
        while self._waiting:
            receipt = self._waiting.popleft()
            self._bytes -= receipt.size
            self._fail(receipt, error)
        self._room.wake()
        if not self._busy:
            self._wake()
