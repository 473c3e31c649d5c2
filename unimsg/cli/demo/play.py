"""The play itself: three listen, one publishes, one of the three is killed in the middle, and all is counted at the end."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from typing import Any

import unimsg
from unimsg.cli.demo.excerpt import ticks
from unimsg.cli.demo.roles import ROLES
from unimsg.cli.demo.stage import Actor
from unimsg.cli.demo.tally import Tally
from unimsg.cli.outcome import NO_CONNECTION, PROBLEM, Stop

__all__ = ["Play"]

PATIENCE = 30.0
"""Seconds without any progress after which the demo gives up and says what is missing."""


class Play:
    """One run of the demo; its attributes are what the screen shows."""

    def __init__(self, url: str, rate: float | None, seconds: float, most: int | None) -> None:
        """Read the file; `rate` in messages a second (0: unpaced), or else what spreads it over `seconds`."""
        file = list(ticks(most))
        self.file = file
        self.total = len(file)
        self.rate = self.total / seconds if rate is None else rate
        self.url = url
        self.run_id = uuid.uuid4().hex[:12]
        self.sent = 0
        self.seconds: float | None = None
        self.kills = 0
        self.act = "the subscribers get ready"
        self.stanza: str | None = None
        self.tallies = [Tally(role, file) for role in ROLES]
        self.subscribers = [self._subscriber(tally) for tally in self.tallies]
        self.publisher = Actor("publisher", url, "publish", {"run": self.run_id, "rate": self.rate, "most": most}, self._heard_publisher)
        self._moved = time.monotonic()

    def _subscriber(self, tally: Tally) -> Actor:
        def heard(report: dict[str, Any]) -> None:
            self._moved = time.monotonic()
            if "stanza" in report:
                self.stanza = self.stanza or report["stanza"]
            else:
                tally.take(report["seen"])

        return Actor(tally.role.name, self.url, "subscribe", {"run": self.run_id, "name": tally.role.name}, heard)

    def _heard_publisher(self, report: dict[str, Any]) -> None:
        self._moved = time.monotonic()
        self.sent = report["sent"]
        self.seconds = report.get("seconds", self.seconds)

    async def run(self) -> list[str]:
        """Play it to the end and return what was wrong. Raises Stop where it could not be played."""
        recorder, tally = self.subscribers[0], self.tallies[0]
        async with AsyncExitStack() as cleaning:
            await self._refuse_no_broker()
            cleaning.push_async_callback(self._forget)
            for actor in (*self.subscribers, self.publisher):
                cleaning.push_async_callback(actor.clear)
            for actor in self.subscribers:
                await actor.start()
            for actor in self.subscribers:
                await actor.ready()
            await self._refuse_private_broker()
            self.act = "quotes and trades flow"
            await self.publisher.start()
            await self._until(lambda: self.sent >= self.total / 2 and tally.started)
            self.act = "the recorder is killed with -9, and started again"
            await recorder.kill()
            self.kills += 1
            await recorder.start()
            await recorder.ready()
            self.act = "quotes and trades flow; the recorder is back"
            await self.publisher.ended()
            self.act = "all is published and confirmed; the last ones arrive"
            await self._until(lambda: all(tally.decided for tally in self.tallies), give_up=False)
            for actor in self.subscribers:
                await actor.dismiss()
            self.act = "the end"
        return [fault for tally in self.tallies for fault in tally.faults()] + self._miscounted()

    def _miscounted(self) -> list[str]:
        return [] if self.sent == self.total else [f"publisher: {self.sent} messages were confirmed, the file has {self.total}"]

    async def _until(self, true: Any, give_up: bool = True) -> None:
        """Wait for something that reports make true; a failed process, or a long silence, ends the waiting."""
        self._moved = time.monotonic()
        while not true():
            for actor in (*self.subscribers, self.publisher):
                actor.check()
            if time.monotonic() - self._moved > PATIENCE:
                if give_up:
                    raise Stop(PROBLEM, f"nothing has moved for {PATIENCE:.0f} s, {self.sent} of {self.total} messages confirmed")
                return
            await asyncio.sleep(0.02)

    async def _refuse_no_broker(self) -> None:
        try:
            connection = await unimsg.connect(self.url)
        except (unimsg.InvalidURLError, unimsg.BackendNotFoundError, unimsg.BackendNotInstalledError):
            raise
        except unimsg.UnimsgError as error:
            raise Stop(NO_CONNECTION, str(error)) from error
        await connection.close()

    async def _refuse_private_broker(self) -> None:
        """Say so if each process has a broker of its own: what the recorder subscribed must be seen from here."""
        async with unimsg.connect(self.url) as connection:
            if not connection.capabilities.supports("inspect"):
                return
            if not any(info.subscription == f"demo-{self.run_id}" for info in await connection.inspect()):
                health = connection.health()
                raise Stop(PROBLEM, f"the processes of the demo do not meet at {health.url}: it needs a broker that processes share, such as sqlite:///demo.db")

    async def _forget(self) -> None:
        """Leave no subscription behind on a broker that stays."""
        try:
            async with asyncio.timeout(10), unimsg.connect(self.url, client_id=f"demo-{self.run_id}", reconnect=False) as connection:
                await connection.unsubscribe(f"demo-{self.run_id}")
        except (unimsg.UnimsgError, TimeoutError):
            pass  # it was never made, or the broker is gone: the run has said what there is to say
