"""What each subscriber must get, what it has got, and how long that took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unimsg.cli.demo.excerpt import Tick
from unimsg.cli.demo.roles import Role

__all__ = ["Tally", "percentile"]


class Tally:
    """Count for one subscriber; nothing in it is told by the subscriber alone, all is held against the file."""

    def __init__(self, role: Role, file: Iterable[Tick]) -> None:
        """Work out from the file's ticks what the role must get."""
        self.role = role
        self.wanted = {tick.number: tick.check for tick in file if role.wants(tick)}
        self.seen: set[int] = set()
        self.again = 0
        self.marked = 0
        self.strange = 0
        self.altered = 0
        self.microseconds: list[int] = []
        self.last: int | None = None

    def take(self, report: Sequence[Sequence[int]]) -> None:
        """Take a report of (number, microseconds, check sum, delivery count) each."""
        for number, microseconds, check, deliveries in report:
            if number not in self.wanted:
                self.strange += 1
            elif self.wanted[number] != check:
                self.altered += 1
            elif number in self.seen:
                self.again += 1
                self.marked += deliveries > 1
            else:
                self.seen.add(number)
                self.last = number
                self.microseconds.append(microseconds)

    @property
    def started(self) -> bool:
        """Tell whether anything has come."""
        return bool(self.seen or self.strange or self.altered)

    @property
    def complete(self) -> bool:
        """Tell whether everything is there."""
        return len(self.seen) == len(self.wanted)

    @property
    def decided(self) -> bool:
        """Tell whether waiting cannot change the verdict any more."""
        return self.complete or bool(self.strange or self.altered)

    def faults(self) -> list[str]:
        """Return what is wrong, in words; duplicates are right where a process was killed, if they say that they are."""
        found = {
            f"{len(self.wanted) - len(self.seen)} of {len(self.wanted)} messages did not arrive": not self.complete,
            f"{self.strange} messages arrived that its pattern and selector do not cover": self.strange,
            f"{self.altered} messages arrived with other contents than the file's": self.altered,
            f"{self.again} messages arrived twice, {self.marked} of them marked as redelivered": self.again != self.marked
            or (self.again and not self.role.durable),
        }
        return [f"{self.role.name}: {fault}" for fault, true in found.items() if true]


def percentile(values: Sequence[int], part: float) -> int | None:
    """Return the value that `part` (0 to 1) of the values do not exceed, or None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
