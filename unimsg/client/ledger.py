"""The ledger of a consumer: settlements on their way to the broker, one batch at a time.

What is written into it while a batch is in flight travels together in the next one. A settlement that was cancelled on
its way is written again (settling twice is harmless: the second time the token is stale); one whose connection was lost
is struck out, because the broker has already given the message back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from unimsg.client.waiting import Waiters
from unimsg.driver import Receiver, Settlement

if TYPE_CHECKING:
    from unimsg.client.link import Link

__all__ = ["Ledger"]

log = logging.getLogger("unimsg")


class Ledger:
    """Settle deliveries of one receiver."""

    def __init__(self, link: Link, receiver: Receiver, lazy: int = 1) -> None:
        """Take the receiver; with `lazy` > 1 (DUPS_OK) nothing travels before there are so many, or somebody flushes."""
        self._link = link
        self._receiver = receiver
        self._lazy = lazy
        self._generation = link.generation
        self._busy = False
        self._scheduled = False
        self._waiters = Waiters()
        self._task: asyncio.Task[None] | None = None
        self.pending: list[Settlement] = []
        self.stale = 0

    def add(self, settlement: Settlement) -> None:
        """Write a settlement; it travels when the event loop gets its turn, or when somebody flushes before."""
        self.pending.append(settlement)
        if not self._scheduled and len(self.pending) >= self._lazy:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    @property
    def current(self) -> bool:
        """Tell whether the receiver is of the connection that there is."""
        return self._generation == self._link.generation and self._link.state != "closed"

    def strike(self) -> int:
        """Give up what has not travelled, for the connection is gone; return how many settlements were stale in all."""
        self.stale += len(self.pending)
        self.pending.clear()
        return self.stale

    def _start(self) -> None:
        self._scheduled = False
        if self.pending and not self._busy and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._background(), name="unimsg settle")

    async def _background(self) -> None:
        try:
            await self.flush()
        except Exception:
            log.exception("settling failed; the messages will be delivered again")
        finally:
            self._task = None

    async def flush(self) -> None:
        """Return when everything that was written so far is settled."""
        while self.pending or self._busy:
            if self._busy:
                await self._waiters.wait()
                continue
            batch, self.pending = self.pending, []
            self._busy = True
            try:
                # Not only while the link is up: before that, some consumers are restored and deliver already.
                if self.current:
                    self.stale += len(await self._receiver.settle(batch))
                else:
                    self.stale += len(batch)
            except asyncio.CancelledError:
                self.pending[:0] = batch
                self._schedule()  # nobody may come by for long, and the broker holds the message meanwhile
                raise
            except Exception as error:
                self.stale += len(batch)
                if not self._link.is_retryable(error):
                    raise self._link.error_of(error) from error
            finally:
                self._busy = False
                self._waiters.wake()
