"""One mailbox's messages in memory, in order: priority descending, sequence ascending.

A level (one priority) is a list sorted by sequence, read from `head`. What is taken from its front moves `head`; what is
taken from its middle (a selector, a group) stays as a *hole* until the head passes it or holes are most of the list.
So the common case (one priority, taken from the front) is a slice, and an entry that comes back finds its place by
bisection. A consumer that skips messages for good remembers per level how far it has looked (`seen`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from unimsg.broker.store import Judge, Verdict
from unimsg.driver import Frame

__all__ = ["Entry", "Shelf"]

_SKIP, _DROP = Verdict.SKIP, Verdict.DROP
_seq = attrgetter("seq")


class Entry:
    """A message in one mailbox: its sequence, how often it has been delivered, and whether it stands as a hole in a level."""

    __slots__ = ("count", "frame", "hole", "seq")

    def __init__(self, seq: int, frame: Frame) -> None:
        self.seq = seq
        self.frame = frame
        self.count = 0
        self.hole = False


class Level:
    """The waiting messages of one priority."""

    __slots__ = ("head", "holes", "items", "seen")

    def __init__(self) -> None:
        self.items: list[Entry] = []
        self.head = 0
        self.holes = 0
        self.seen: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.items) - self.head - self.holes

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entry in self.items[self.head :] if not entry.hole)

    def first(self) -> Entry | None:
        """Return the entry of the lowest sequence."""
        self.skip_holes()
        return self.items[self.head] if self.head < len(self.items) else None

    def skip_holes(self) -> None:
        items = self.items
        while self.holes and items[self.head].hole:
            items[self.head].hole = False
            self.head += 1
            self.holes -= 1

    def take(self, limit: int) -> list[Entry]:
        """Take up to `limit` from the front."""
        head, items = self.head, self.items
        if self.holes:
            taken: list[Entry] = []
            while len(taken) < limit and (entry := self.first()) is not None:
                taken.append(entry)
                self.head += 1
        else:
            taken = items[head : head + limit]
            self.head = head + len(taken)
        self.tidy()
        return taken

    def put(self, entry: Entry) -> None:
        """Put an entry (back) in its place."""
        items, head, seq = self.items, self.head, entry.seq
        for consumer, looked in self.seen.items():
            if seq < looked:
                self.seen[consumer] = seq
        if head < len(items):
            if seq < items[head].seq:
                if head:
                    self.head = head - 1
                    items[head - 1] = entry
                else:
                    items.insert(0, entry)
                return
            index = bisect_left(items, seq, lo=head, key=_seq)
            if index < len(items) and items[index] is entry:
                entry.hole = False
                self.holes -= 1
            else:
                items.insert(index, entry)
            return
        items.append(entry)

    def find(self, seq: int) -> int | None:
        """Return the index of a waiting entry."""
        index = bisect_left(self.items, seq, lo=self.head, key=_seq)
        return index if index < len(self.items) and self.items[index].seq == seq and not self.items[index].hole else None

    def remove(self, index: int) -> None:
        """Take the waiting entry at `index` out."""
        if index == self.head:
            self.head += 1
            self.skip_holes()
        else:
            self.items[index].hole = True
            self.holes += 1

    def pick(self, limit: int, judge: Judge, consumer: int) -> list[Entry]:
        """Take up to `limit` of those that `judge` says TAKE to, and remove those that it says DROP to."""
        items = self.items
        picked: list[Entry] = []
        looked = self.seen.get(consumer)
        index = self.head if looked is None else bisect_left(items, looked, lo=self.head, key=_seq)
        while index < len(items) and len(picked) < limit:
            entry = items[index]
            if not entry.hole:
                verdict = judge(entry.frame)
                if verdict is not _SKIP:
                    self.remove(index)
                    if verdict is not _DROP:
                        picked.append(entry)
            index = max(index + 1, self.head)
        if index > self.head:  # all before it are not for this consumer, or holes
            self.seen[consumer] = items[index].seq if index < len(items) else items[-1].seq + 1
        else:
            self.seen.pop(consumer, None)
        self.tidy()
        return picked

    def tidy(self) -> None:
        """Let go of what was taken, now and then, so that it costs nothing a message."""
        items, head = self.items, self.head
        if head >= len(items):
            items.clear()
            self.head = self.holes = 0
        elif head > 256 + len(items) // 8:
            del items[:head]
            self.head = 0
        if self.holes > 64 and self.holes > len(self.items) // 2:
            kept = list(self)
            for entry in self.items[self.head :]:
                entry.hole = False
            self.items, self.head, self.holes = kept, 0, 0


class Shelf:
    """All that is waiting or delayed in one mailbox."""

    __slots__ = ("delayed", "groups", "levels", "order", "special")

    def __init__(self) -> None:
        self.levels: dict[int, Level] = {}
        self.order: list[Level] = []
        self.delayed: dict[int, tuple[float, Entry]] = {}
        self.groups: dict[str, int] = {}
        self.special = False
        """Something waiting here may expire or have a group."""

    def __len__(self) -> int:
        return sum(map(len, self.order)) + len(self.delayed)

    def level(self, priority: int) -> Level:
        """Return the level of a priority, made if need be."""
        found = self.levels.get(priority)
        if found is None:
            found = self.levels[priority] = Level()
            self.order = [self.levels[each] for each in sorted(self.levels, reverse=True)]
        return found

    def put(self, entry: Entry) -> None:
        """Put an entry (back) in its place."""
        route = entry.frame.route
        if route.group is not None or route.expires_at is not None:
            self.special = True
        self.level(route.priority).put(entry)

    def take(self, limit: int, judge: Judge | None, consumer: int) -> list[Entry]:
        """Take up to `limit`, in order."""
        taken: list[Entry] = []
        for level in self.order:
            more = level.take(limit - len(taken)) if judge is None else level.pick(limit - len(taken), judge, consumer)
            taken = taken + more if taken else more
            if len(taken) >= limit:
                return taken
        if self.special and not len(self):
            self.special = False
        return taken

    def look_again(self) -> None:
        """Forget how far consumers have looked: what was not for them may be now."""
        for level in self.order:
            level.seen.clear()

    def forget(self, consumer: int) -> None:
        """Forget how far one consumer has looked."""
        for level in self.order:
            level.seen.pop(consumer, None)

    def oldest(self) -> Entry | None:
        """Return the waiting entry of the lowest sequence, or else the delayed one that is due first."""
        found = min(filter(None, (level.first() for level in self.order)), key=_seq, default=None)
        if found is None and self.delayed:
            return min(self.delayed.values(), key=lambda delayed: (delayed[0], delayed[1].seq))[1]
        return found

    def remove(self, entry: Entry) -> bool:
        """Remove an entry that is waiting or delayed; tell whether it was."""
        if self.delayed.pop(entry.seq, None) is not None:
            return True
        return self.remove_waiting(entry.frame.route.priority, entry.seq)

    def remove_waiting(self, priority: int, seq: int) -> bool:
        """Remove a waiting entry; tell whether it was there."""
        level = self.levels.get(priority)
        index = None if level is None else level.find(seq)
        if level is None or index is None:
            return False
        level.remove(index)
        level.tidy()
        return True

    def peek(self, after: tuple[int, int] | None, limit: int) -> list[tuple[Any, Frame]]:
        """Return up to `limit` waiting frames and their places (minus priority, sequence), after a place."""
        found: list[tuple[Any, Frame]] = []
        for priority in sorted(self.levels, reverse=True):
            level, place = self.levels[priority], -priority
            index = level.head
            if after is not None:
                if place < after[0]:
                    continue
                if place == after[0]:
                    index = bisect_left(level.items, after[1] + 1, lo=level.head, key=_seq)
            while index < len(level.items) and len(found) < limit:
                entry = level.items[index]
                if not entry.hole:
                    found.append(((place, entry.seq), entry.frame))
                index += 1
            if len(found) >= limit:
                break
        return found

    def clear(self) -> int:
        """Remove all; return how many there were."""
        count = len(self)
        for level in self.order:
            for entry in level.items:
                entry.hole = False
        self.levels, self.order, self.delayed, self.special = {}, [], {}, False
        return count
