"""Waiting for a mailbox: whoever waits is woken in its own event loop, from whatever thread something happened in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

__all__ = ["Bell", "Waiter"]


class Waiter:
    """One wait for one mailbox. Made *before* looking whether there is something, so that nothing is missed in between."""

    __slots__ = ("_bell", "future", "loop", "mailbox")

    def __init__(self, bell: Bell, mailbox: int) -> None:
        self._bell = bell
        self.mailbox = mailbox
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bool] = self.loop.create_future()

    def wake(self) -> None:
        """End the wait; called in the waiter's own loop."""
        if not self.future.done():
            self.future.set_result(True)

    def _give_up(self) -> None:
        if not self.future.done():
            self.future.set_result(False)

    async def wait(self, timeout: float | None) -> bool:
        """Wait until the bell rings (True), or `timeout` seconds are over."""
        if timeout is None:
            return await self.future
        handle = self.loop.call_later(timeout, self._give_up)
        try:
            return await self.future
        finally:
            handle.cancel()

    def __enter__(self) -> Self:
        self._bell.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bell.remove(self)


class Bell:
    """The waiters of one broker, by mailbox."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[int, list[Waiter]] = {}

    def waiter(self, mailbox: int) -> Waiter:
        """Return a waiter for a mailbox; it waits from `with` on."""
        return Waiter(self, mailbox)

    def add(self, waiter: Waiter) -> None:
        """Let a waiter wait; the first to come is the first to be woken."""
        with self._lock:
            self._waiters.setdefault(waiter.mailbox, []).append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Forget a waiter."""
        with self._lock:
            waiters = self._waiters.get(waiter.mailbox)
            if waiters is not None and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[waiter.mailbox]

    def ring(self, mailboxes: Iterable[int]) -> None:
        """Wake all who wait for one of the mailboxes; callable from any thread."""
        if not self._waiters:
            return
        with self._lock:
            woken = [waiter for mailbox in mailboxes for waiter in self._waiters.pop(mailbox, ())]
        if not woken:
            return
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        for waiter in woken:
            if waiter.loop is here:
                waiter.wake()
            else:
                try:
                    waiter.loop.call_soon_threadsafe(waiter.wake)
                except RuntimeError:  # its loop is closed: nobody waits there any more
                    continue

    def ring_all(self) -> None:
        """Wake all who wait for anything."""
        with self._lock:
            mailboxes = list(self._waiters)
        self.ring(mailboxes)
