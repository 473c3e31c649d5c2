"""Waiting that leaves no trace when it is cancelled, and ends that are reached although whoever asked for them is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Ending", "Waiters"]

log = logging.getLogger("unimsg")


class Waiters:
    """Those who wait for one thing to happen; they are woken together, and look for themselves whether it did."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Wait for the next `wake`."""
        future = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            await future
        finally:
            self._futures.discard(future)

    def wake(self) -> None:
        """Wake all who wait now."""
        for future in self._futures:
            if not future.done():
                future.set_result(None)


class Ending:
    """A closing that happens once and to its end.

    Cancelled, a half-done closing would leave a consumer at the broker that nobody reads. So it runs in a task of its
    own: the first who asks has its outcome, others wait for it to be over.
    """

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run what `make` returns, or wait until what ran first is over."""
        if self._task is not None:
            await self.over()
            return
        self._task = asyncio.get_running_loop().create_task(make(), name=name)
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.add_done_callback(_unheard)
            raise

    async def over(self) -> None:
        """Wait until it is over, if it has begun."""
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            await asyncio.wait((self._task,))


def _unheard(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("%s, which nobody waited for any more: %s", task.get_name(), error)
