"""A broker on a table: over any store, with a clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unimsg.broker import Broker, MemoryStore
from unimsg.destination import Destination
from unimsg.driver import Delivery, DestinationInfo, Frame, Identity, Outcome, Route, Settlement, Source

START = 1_800_000_000.0


class Desk:
    """Runs each operation of a broker as a door does: at `now`, in a transaction of the store where it has them."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.broker = Broker(store)
        self.now = START
        self.woken: set[int] = set()
        self._transacted = hasattr(store, "begin")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self.broker, name)

        def run(*arguments: Any, **options: Any) -> Any:
            return self.run(lambda: operation(*arguments, now=self.now, **options))

        return run

    def run(self, work: Callable[[], Any]) -> Any:
        if self._transacted:
            self.store.begin()
        try:
            return work()
        finally:
            self.woken = set(self.broker.woken)
            self.broker.woken.clear()
            if self._transacted:
                self.store.flush()
                self.store.commit()

    def next_due(self) -> float | None:
        due: float | None = self.run(self.broker.next_due)
        return due

    def link(self, name: str, client_id: str | None = None, **options: Any) -> str:
        self.connect(Identity(name, client_id), **options)
        return name

    def consumer(self, link: str, destination: Destination[Any], **source: Any) -> int:
        return int(self.attach(Source(destination, **source), link))

    def post(self, link: str, destination: Destination[Any], *texts: str, **route: Any) -> None:
        self.send([frame(destination, text, **route) for text in texts], link)

    def get(self, consumer: int, limit: int = 1000) -> list[str]:
        """Take and say what came."""
        return texts(self.take(consumer, limit))

    def eat(self, consumer: int, limit: int = 1000) -> list[str]:
        """Take, accept and say what came."""
        found = self.take(consumer, limit)
        assert self.settle(consumer, [Settlement(each.token) for each in found]) == []
        return texts(found)

    def back(self, consumer: int, delivery: Delivery, outcome: Outcome = Outcome.RELEASE, delay: float = 0.0) -> list[Any]:
        stale: list[Any] = self.settle(consumer, [Settlement(delivery.token, outcome, delay)])
        return stale

    def dropped_of(self, consumer: int) -> int:
        return int(self.run(lambda: self.broker.dropped(consumer)))

    def depth(self, destination: Destination[Any]) -> int:
        infos: list[DestinationInfo] = self.inspect()
        return sum(info.depth or 0 for info in infos if info.destination == destination)


def frame(destination: Destination[Any], text: str = "", **route: Any) -> Frame:
    return Frame(text.encode(), Route(destination, **route))


def texts(deliveries: list[Delivery]) -> list[str]:
    return [delivery.frame.data.decode() for delivery in deliveries]


def memory_store(folder: Path) -> Any:
    return MemoryStore()


def sqlite_store(folder: Path) -> Any:
    from unimsg.broker.sqlite import SqliteStore
    from unimsg.broker.sqlite_file import open_file

    return SqliteStore(open_file(folder / "broker.db", "normal"), "test")


STORES: dict[str, Callable[[Path], Any]] = {"memory": memory_store, "sqlite": sqlite_store}
"""Every store there is: a new one is tested by being named here."""
