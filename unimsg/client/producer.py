"""The producer: `send` waits for the broker's confirmation, `submit` only for room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

from unimsg.client.mode import Mode
from unimsg.client.opening import leave
from unimsg.client.options import OPTIONS, SendOptions
from unimsg.client.outbox import Outbox
from unimsg.client.receipt import Receipt
from unimsg.client.stamp import Stamped, target_of
from unimsg.client.waiting import Ending
from unimsg.destination import Destination
from unimsg.errors import ClosedError, InvalidDestinationError, UnsupportedError
from unimsg.message import Message

if TYPE_CHECKING:
    from types import TracebackType

    from unimsg.client.session import Session
    from unimsg.client.stamp import Stamper

__all__ = ["Producer"]

T = TypeVar("T")


class Producer(Generic[T]):
    """Send messages to one destination, or, bound to none, to the one that each send names (JMS 3.1 §7)."""

    def __init__(self, session: Session, stamper: Stamper, destination: Destination[T] | None, defaults: SendOptions) -> None:
        """Be made by `connection.producer(...)` or `session.producer(...)`."""
        for name in defaults:
            if name not in OPTIONS or name == "to":
                raise TypeError(f"a producer has no default {name!r}")
        self._link = session.link
        self._stamp = stamper
        self._session = session
        self._transacted = session.mode is Mode.TRANSACTED
        self._target = None if destination is None else target_of(destination)
        self._destination = destination
        self._defaults = defaults
        self._outbox = Outbox(session.link, destination)
        self._closed = False
        self._ending = Ending()

    @property
    def destination(self) -> Destination[T] | None:
        """Return the destination that it is bound to."""
        return self._destination

    @property
    def unconfirmed(self) -> int:
        """Return how many submitted messages are neither confirmed nor failed."""
        return self._outbox.unconfirmed

    async def send(self, body: T | Message[T], **options: Unpack[SendOptions]) -> Message[T]:
        """Send a message and return it, stamped, when the broker has confirmed it.

        Raises MessageFormatError, UnsupportedError, MessageTooLargeError, InvalidDestinationError before any I/O.
        Cancelled, its outcome is unknown: give your own `message_id=` and send it again (JMS 3.1 §7.1).
        """
        stamped = self._stamped(body, options)
        if self._transacted:
            await self._session.settled()
            self._session.hold(stamped.frame)
            return stamped.message()
        receipt: Receipt[T] = Receipt(stamped)
        if self._outbox.tight:
            await self._outbox.room()
        await self._outbox.send(receipt)
        return stamped.message()

    async def submit(self, body: T | Message[T], **options: Unpack[SendOptions]) -> Receipt[T]:
        """Hand a message over and return its receipt; wait only where there is no room (JMS 3.1 §7.3).

        In a transacted session the receipt is done at once: what counts there is the commit.
        """
        stamped = self._stamped(body, options)
        if self._transacted:
            await self._session.settled()
            self._session.hold(stamped.frame)
            return Receipt(stamped, done=True)
        if self._outbox.tight:
            await self._outbox.room()
        receipt: Receipt[T] = Receipt(stamped)
        self._outbox.add(receipt)
        return receipt

    def _stamped(self, body: Any, options: Any) -> Stamped:
        if self._closed:
            raise ClosedError("this producer is closed")
        if self._link.state == "closed":
            self._link.check()
        if self._defaults:
            options = {**self._defaults, **options}
        target = self._target
        if "to" in options:
            if target is not None:
                # Equal or not: JMS refuses any destination here (§7.2, UnsupportedOperationException).
                raise UnsupportedError(f"this producer is bound to {target.text}: make one without a destination to choose by to=", "to")
            target = target_of(options.pop("to"))
        elif target is None:
            raise InvalidDestinationError("this producer is bound to no destination: say to=Queue(...) or to=Topic(...)")
        return self._stamp(target, body, options)

    async def flush(self) -> None:
        """Wait until all that was submitted is confirmed; failures nobody looked at come as an ExceptionGroup."""
        await self._outbox.flush()

    async def close(self) -> None:
        """Send what was submitted, and close; cancelled, that goes on. Raises as `flush` does."""
        self._closed = True
        await self._ending(self._close, "unimsg close producer")

    async def _close(self) -> None:
        try:
            await self._outbox.close()
        finally:
            self._session.gone(self)

    async def open(self) -> Self:
        """Get ready to send (the client calls this)."""
        await self._outbox.open()
        return self

    @property
    def outbox(self) -> Outbox:
        """Return the outbox (for the connection)."""
        return self._outbox

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await leave(self.close(), error)
