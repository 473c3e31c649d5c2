"""The link to the broker: one driver, opened, lost and opened again.

    opening ──> up ──on_lost──> down ──reopened──> up        generation + 1
                 │                │
                 └──> closed <────┴── (gave up, or an error that another try would not mend)

Everything that holds something of the driver's (a sender, a receiver, a token) remembers the generation that it came
from; of an older one it is dead. Consumers are restored before anybody waiting hears that the link is up again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from unimsg.client.options import Backoff
from unimsg.client.waiting import Ending, Waiters
from unimsg.driver import Driver
from unimsg.errors import ClosedError, ConnectionFailedError, ConnectionLostError, UnimsgError

__all__ = ["Link"]

R = TypeVar("R")
log = logging.getLogger("unimsg")


class Link:
    """Keep one driver connected."""

    def __init__(self, driver: Driver, name: str, backoff: Backoff | None, restore: Callable[[], Awaitable[None]]) -> None:
        """Take the driver, a name for logs, how to reconnect (None: not at all), and what restores the consumers."""
        self.driver = driver
        self.generation = 0
        self.reconnects = 0
        self.state = "opening"
        self.since = time.time()
        self._name = name
        self._backoff = backoff
        self._restore = restore
        self._final: BaseException | None = None
        self._waiters = Waiters()
        self._ending = Ending()
        self._lost_anew: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Connect for the first time; what goes wrong is raised, not retried."""
        self._loop = asyncio.get_running_loop()
        try:
            await self.driver.open(self._lost)
        except Exception as error:
            self._turn("closed")
            await self.quietly(self.driver.close())
            raise self.error_of(error) from error
        except BaseException:
            await self.quietly(self.driver.close())
            raise
        self._turn("up")

    def _turn(self, state: str) -> None:
        self.state = state
        self.since = time.time()

    def _lost(self, error: BaseException) -> None:
        """Hear from the driver that the connection broke."""
        if self.state != "up":
            return
        self.generation += 1
        self._turn("down")
        log.warning("%s: connection lost: %s", self._name, error)
        if self._backoff is None:
            self._end(self.error_of(error))
        else:
            self._task = asyncio.get_running_loop().create_task(self._reconnect(self._backoff), name="unimsg reconnect")

    async def _reconnect(self, backoff: Backoff) -> None:
        delay, start = backoff.first, time.monotonic()
        while True:
            try:
                self._lost_anew = None
                await self.driver.open(self._lost_again)
                await self._restore()
                if self._lost_anew is not None:
                    raise ConnectionLostError(f"{self._name}: lost again: {self._lost_anew}") from self._lost_anew
            except Exception as error:  # noqa: BLE001  (the driver's own errors are of any class)
                await self.quietly(self.driver.close())  # what was restored must not go on without us
                if not self.is_retryable(error):
                    self._end(self.error_of(error))
                    return
                if backoff.give_up is not None and time.monotonic() - start > backoff.give_up:
                    self._end(ConnectionFailedError(f"{self._name}: gave up reconnecting after {backoff.give_up:g} s: {error}"))
                    return
                log.info("%s: reconnecting failed, next try in %.1f s: %s", self._name, delay, error)
                await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311  (spreads clients, guards nothing)
                delay = min(backoff.most, delay * backoff.factor)
            else:
                break
        self._turn("up")
        self.reconnects += 1
        log.info("%s: connected again", self._name)
        self._waiters.wake()

    def _lost_again(self, error: BaseException) -> None:
        if self.state == "down":
            # While consumers are being restored: the attempt has failed and is repeated. What it has restored is dead.
            self._lost_anew = error
            self.generation += 1
        else:
            self._lost(error)

    def _end(self, error: BaseException) -> None:
        self._final = error
        self._turn("closed")
        log.error("%s: connection given up: %s", self._name, error)
        self._waiters.wake()

    def check(self) -> None:
        """Raise ClosedError, or what ended the connection, unless it is up or coming back."""
        if self.state == "closed":
            if self._final is not None:
                raise ConnectionFailedError(f"{self._name}: the connection is gone: {self._final}") from self._final
            raise ClosedError(f"{self._name}: the connection is closed")

    async def up(self) -> None:
        """Wait until there is a connection. Raises ClosedError or ConnectionFailedError if there will be none."""
        while self.state != "up":
            self.check()
            await self._waiters.wait()

    async def recovered(self) -> None:
        """Wait, after a retryable error, until a new try makes sense."""
        self.check()
        if self.state == "up":
            # Either the driver has not noticed yet, or it was a passing refusal: a pause serves both.
            await asyncio.sleep(0.05)
        await self.up()

    async def retry(self, call: Callable[[], Awaitable[R]]) -> R:
        """Run a call that may be repeated, through as many connections as it takes; errors are ours."""
        while True:
            if self.state != "up":
                await self.up()
            try:
                return await call()
            except Exception as error:
                if not self.is_retryable(error):
                    ours = self.error_of(error)
                    if ours is error:
                        raise
                    raise ours from error
                await self.recovered()

    def is_retryable(self, error: BaseException) -> bool:
        """Tell whether a new try, on this connection or the next, may succeed."""
        if isinstance(error, UnimsgError):
            return isinstance(error, ConnectionLostError)
        return self.driver.is_retryable(error)

    def error_of(self, error: BaseException) -> BaseException:
        """Return our error for a native one, which it keeps in `native`."""
        if isinstance(error, (UnimsgError, TimeoutError, asyncio.CancelledError)):
            return error
        ours = self.driver.error_of(error)
        if isinstance(ours, UnimsgError) and ours is not error and ours.native is None:
            ours.native = error
        return ours

    async def quietly(self, closing: Awaitable[object]) -> None:
        """Close something; what goes wrong with it by now is only worth a line in the log."""
        try:
            await closing
        except Exception as error:  # noqa: BLE001  (see above)
            log.debug("%s: while closing: %s", self._name, error)

    async def close(self) -> None:
        """Disconnect for good."""
        self._final = None
        self._turn("closed")
        self._waiters.wake()
        await self._ending(self._close, "unimsg disconnect")

    async def _close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.quietly(self.driver.close())
