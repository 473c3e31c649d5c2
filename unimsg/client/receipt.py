"""The receipt of a submitted message: it has the id at once, and is awaited for the confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from unimsg.client.stamp import Stamped
from unimsg.message import Message

__all__ = ["Receipt"]

T = TypeVar("T")


class Receipt(Generic[T]):
    """Await it for the message as it was sent; it raises what went wrong. Any number of tasks may await it."""

    __slots__ = ("_done", "_error", "_waiters", "seen", "size", "stamped")

    def __init__(self, stamped: Stamped, done: bool = False) -> None:
        self.stamped = stamped
        """The frame and its parts (for the client)."""
        self.size = len(stamped.frame.data)
        self._done = done
        self._error: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self.seen = False

    @property
    def message_id(self) -> str:
        """Return the id of the message, `ID:…`."""
        return self.stamped.head["id"]  # type: ignore[no-any-return]

    @property
    def message(self) -> Message[T]:
        """Return the message as it was, or will be, sent."""
        return self.stamped.message()

    def done(self) -> bool:
        """Tell whether it is confirmed or has failed."""
        return self._done

    def error(self) -> BaseException | None:
        """Return why it failed, or None; a failure that was looked at is not raised by `flush` again."""
        self.seen = True
        return self._error

    def settle(self, error: BaseException | None = None) -> None:
        """Confirm it, or let it fail (for the client)."""
        if self._done:
            return
        self._done = True
        self._error = error
        if self._waiters:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters = None

    def __await__(self) -> Generator[Any, None, Message[T]]:
        if not self._done:
            waiter = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            yield from waiter
        if self._error is not None:
            self.seen = True
            raise self._error
        return self.stamped.message()

    def __repr__(self) -> str:
        state = "waiting" if not self._done else "confirmed" if self._error is None else f"failed: {self._error}"
        return f"<Receipt {self.message_id} {state}>"
