"""The store in memory: fast, and gone with its process."""
# ruff: noqa: D102  - what a method promises stands in `Store`

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from unimsg.broker.shelf import Entry, Shelf
from unimsg.broker.store import Consumer, Judge, Link, Mailbox, Token
from unimsg.driver import Delivery, Frame

__all__ = ["MemoryStore"]


class Hand:
    """What one consumer holds, by token, and what of it is extended until when."""

    __slots__ = ("extended", "held", "mailbox", "shelf")

    def __init__(self, mailbox: int, shelf: Shelf) -> None:
        self.mailbox = mailbox
        self.shelf = shelf
        self.held: dict[Token, Entry] = {}
        self.extended: dict[Token, float] = {}


class MemoryStore:
    """Keep everything in dictionaries, lists and two heaps; see `Store` for what each method promises."""

    def __init__(self) -> None:
        self.generation: int = 0
        self._last = 0  # the last id given to a record
        self._seq = 0
        self._token = 0
        self._links: dict[str, Link] = {}
        self._mailboxes: dict[int, Mailbox] = {}
        self._queues: dict[str, Mailbox] = {}
        self._shelves: dict[int, Shelf] = {}
        self._consumers: dict[int, Consumer] = {}
        self._hands: dict[int, Hand] = {}
        self._listening: dict[int, dict[int, Consumer]] = {}  # the consumers of each mailbox
        self._temporary: dict[str, str] = {}
        self._dropped: dict[int, int] = {}
        self._delays: list[tuple[float, int, int]] = []  # due, sequence, mailbox
        self._expiries: list[tuple[float, int, int, int]] = []  # expires at, sequence, priority, mailbox
        self._many_expiries = 1024
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lapse: float | None = None
        self._lapse_known = True

    # Records.

    def add_link(self, link: Link) -> None:
        self._links[link.id] = link
        self._lapse_known = False

    def link(self, link_id: str) -> Link | None:
        return self._links.get(link_id)

    def links(self) -> Collection[Link]:
        return list(self._links.values())

    def remove_link(self, link_id: str) -> None:
        self._links.pop(link_id, None)
        self._lapse_known = False

    def add_mailbox(self, mailbox: Mailbox) -> Mailbox:
        if not mailbox.id:
            self._last += 1
            mailbox = mailbox._replace(id=self._last)
        self._mailboxes[mailbox.id] = mailbox
        self._shelves.setdefault(mailbox.id, Shelf())
        self._listening.setdefault(mailbox.id, {})
        if mailbox.is_queue:
            self._queues[str(mailbox.destination)] = mailbox
        self.generation += 1
        return mailbox

    def mailbox(self, mailbox_id: int) -> Mailbox | None:
        return self._mailboxes.get(mailbox_id)

    def queue(self, destination: str) -> Mailbox | None:
        return self._queues.get(destination)

    def mailboxes(self) -> Collection[Mailbox]:
        return list(self._mailboxes.values())

    def remove_mailbox(self, mailbox_id: int) -> None:
        mailbox = self._mailboxes.pop(mailbox_id, None)
        if mailbox is None:
            return
        self.purge(mailbox_id)
        for consumer_id in self._listening.pop(mailbox_id):
            hand = self._hands[consumer_id]
            hand.held.clear()
            hand.extended.clear()
        del self._shelves[mailbox_id]
        self._dropped.pop(mailbox_id, None)
        if mailbox.is_queue:
            del self._queues[str(mailbox.destination)]
        self.generation += 1

    def add_consumer(self, consumer: Consumer) -> Consumer:
        self._last += 1
        consumer = consumer._replace(id=self._last)
        self._consumers[consumer.id] = self._listening[consumer.mailbox][consumer.id] = consumer
        self._hands[consumer.id] = Hand(consumer.mailbox, self._shelves[consumer.mailbox])
        return consumer

    def consumer(self, consumer_id: int) -> Consumer | None:
        return self._consumers.get(consumer_id)

    def consumers(self, mailbox_id: int | None = None, link_id: str | None = None) -> Sequence[Consumer]:
        found = self._consumers if mailbox_id is None else self._listening.get(mailbox_id, {})
        return [each for each in found.values() if link_id is None or each.link == link_id]

    def remove_consumer(self, consumer_id: int) -> None:
        consumer = self._consumers.pop(consumer_id)
        self._listening.get(consumer.mailbox, {}).pop(consumer_id, None)
        self._hands.pop(consumer_id).shelf.forget(consumer_id)

    def add_temporary(self, destination: str, link_id: str) -> None:
        self._temporary[destination] = link_id
        self.generation += 1

    def temporary(self, destination: str) -> str | None:
        return self._temporary.get(destination)

    def temporaries(self, link_id: str) -> Sequence[str]:
        return [text for text, owner in self._temporary.items() if owner == link_id]

    def remove_temporary(self, destination: str) -> None:
        self._temporary.pop(destination, None)
        self.generation += 1

    def dropped(self, mailbox_id: int) -> int:
        return self._dropped.get(mailbox_id, 0)

    def add_dropped(self, mailbox_id: int, count: int) -> None:
        self._dropped[mailbox_id] = self._dropped.get(mailbox_id, 0) + count

    # Messages.

    def append(self, plan: Mapping[int, Sequence[Frame]], now: float) -> None:
        seq = self._seq
        for mailbox_id, frames in plan.items():
            shelf = self._shelves[mailbox_id]
            priority, level = -1, None
            for frame in frames:
                seq += 1
                route = frame.route
                entry = Entry(seq, frame)
                if route.deliver_at is not None and route.deliver_at > now:
                    self._delay(mailbox_id, shelf, entry, route.deliver_at)
                    continue
                if route.priority != priority or level is None:
                    priority, level = route.priority, shelf.level(route.priority)
                level.items.append(entry)
                if route.group is not None or route.expires_at is not None:
                    shelf.special = True
                    self._watch_expiry(mailbox_id, entry)
        self._seq = seq

    def _delay(self, mailbox_id: int, shelf: Shelf, entry: Entry, due: float) -> None:
        shelf.delayed[entry.seq] = due, entry
        heapq.heappush(self._delays, (due, entry.seq, mailbox_id))

    def _watch_expiry(self, mailbox_id: int, entry: Entry) -> None:
        route = entry.frame.route
        if route.expires_at is None:
            return
        heapq.heappush(self._expiries, (route.expires_at, entry.seq, route.priority, mailbox_id))
        if len(self._expiries) > self._many_expiries:  # most of what expires is consumed before: let go of that
            self._expiries = [
                (frame_expires, entry.seq, entry.frame.route.priority, each)
                for each, shelf in self._shelves.items()
                for level in shelf.order
                for entry in level
                if (frame_expires := entry.frame.route.expires_at) is not None
            ]
            heapq.heapify(self._expiries)
            self._many_expiries = 1024 + 2 * len(self._expiries)

    def take(self, consumer: Consumer, limit: int, judge: Judge | None) -> list[Delivery]:
        hand = self._hands[consumer.id]
        entries = hand.shelf.take(limit, judge, consumer.id)
        if not entries:
            return []
        tokens = range(self._token + 1, self._token + 1 + len(entries))
        self._token += len(entries)
        hand.held.update(zip(tokens, entries, strict=True))
        return [Delivery(entry.frame, token, entry.count + 1) for token, entry in zip(tokens, entries, strict=True)]

    def plain(self, mailbox_id: int) -> bool:
        return not self._shelves[mailbox_id].special

    def stale(self, consumer_id: int, tokens: Iterable[Token]) -> list[Token]:
        hand = self._hands.get(consumer_id)
        return [token for token in tokens if hand is None or token not in hand.held]

    def accept(self, consumer_id: int, tokens: Sequence[Token]) -> list[Token]:
        hand = self._hands.get(consumer_id)
        if hand is None:
            return list(tokens)
        pop = hand.held.pop
        stale = [token for token in tokens if pop(token, None) is None]
        if hand.extended:
            for token in tokens:
                hand.extended.pop(token, None)
        return stale

    def give_back(self, consumer_id: int, tokens: Sequence[Token], count: int, due: float | None) -> list[Token]:
        hand = self._hands.get(consumer_id)
        if hand is None:
            return list(tokens)
        stale = []
        # The last first: each finds its place right before the one that came back before it.
        for token in reversed(tokens):
            entry = hand.held.pop(token, None)
            hand.extended.pop(token, None)
            if entry is None:
                stale.append(token)
                continue
            entry.count += count
            self._return(hand, entry, due)
        return stale[::-1]

    def _return(self, hand: Hand, entry: Entry, due: float | None) -> None:
        if due is not None:
            self._delay(hand.mailbox, hand.shelf, entry, due)
        else:
            hand.shelf.put(entry)
            self._watch_expiry(hand.mailbox, entry)

    def give_back_all(self, consumer_id: int, unless_extended_beyond: float | None) -> int:
        hand = self._hands[consumer_id]
        tokens = list(hand.held)
        if unless_extended_beyond is not None:
            tokens = [token for token in tokens if hand.extended.get(token, unless_extended_beyond) <= unless_extended_beyond]
        self.give_back(consumer_id, tokens, 1, None)
        self._lapse_known = False
        return len(tokens)

    def extend(self, consumer_id: int, tokens: Sequence[Token], until: float) -> list[Token]:
        hand = self._hands.get(consumer_id)
        if hand is None:
            return list(tokens)
        for token in tokens:
            if token in hand.held:
                hand.extended[token] = max(until, hand.extended.get(token, until))
        self._lapse_known = False
        return [token for token in tokens if token not in hand.held]

    def peek(self, mailbox_id: int, after: Any, limit: int) -> list[tuple[Any, Frame]]:
        return self._shelves[mailbox_id].peek(after, limit)

    def waiting(self, mailbox_id: int) -> int:
        return len(self._shelves[mailbox_id])

    def held(self, mailbox_id: int) -> int:
        return sum(len(self._hands[each].held) for each in self._listening[mailbox_id])

    def oldest(self, mailbox_id: int) -> float | None:
        entry = self._shelves[mailbox_id].oldest()
        return None if entry is None else entry.frame.route.timestamp

    def drop_oldest(self, mailbox_id: int, count: int) -> int:
        shelf = self._shelves[mailbox_id]
        gone = len(shelf.order[0].take(count)) if len(shelf.order) == 1 else 0
        while gone < count and (entry := shelf.oldest()) is not None and shelf.remove(entry):
            gone += 1
        return gone

    def purge(self, mailbox_id: int) -> int:
        shelf = self._shelves[mailbox_id]
        if shelf.delayed:
            self._delays = [delay for delay in self._delays if delay[2] != mailbox_id]
            heapq.heapify(self._delays)
        return shelf.clear()

    # Time.

    def wake(self, now: float) -> Collection[int]:
        woken = set()
        while self._delays and self._delays[0][0] <= now:
            due, seq, mailbox_id = heapq.heappop(self._delays)
            shelf = self._shelves.get(mailbox_id)
            if shelf is not None and seq in shelf.delayed and shelf.delayed[seq][0] == due:
                _, entry = shelf.delayed.pop(seq)
                shelf.put(entry)
                self._watch_expiry(mailbox_id, entry)
                woken.add(mailbox_id)
        return woken

    def expire(self, now: float) -> Collection[int]:
        changed = set()
        while self._expiries and self._expiries[0][0] <= now:
            _, seq, priority, mailbox_id = heapq.heappop(self._expiries)
            shelf = self._shelves.get(mailbox_id)
            if shelf is not None and shelf.remove_waiting(priority, seq):
                changed.add(mailbox_id)
        return changed

    def next_wake(self) -> float | None:
        return self._delays[0][0] if self._delays else None

    def next_expiry(self) -> float | None:
        return self._expiries[0][0] if self._expiries else None

    def next_lapse(self) -> float | None:
        if not self._lapse_known:
            ends = [link.deadline for link in self._links.values() if not link.lapsed]
            lapsed = {link.id for link in self._links.values() if link.lapsed}
            for consumer in self._consumers.values() if lapsed else ():
                if consumer.link in lapsed:
                    ends.extend(self._hands[consumer.id].extended.values())
            self._lapse, self._lapse_known = min(ends, default=None), True
        return self._lapse

    # Groups and deduplication.

    def owner(self, mailbox_id: int, group: str) -> int | None:
        return self._shelves[mailbox_id].groups.get(group)

    def own(self, consumer: Consumer, groups: Collection[str]) -> None:
        self._shelves[consumer.mailbox].groups.update(dict.fromkeys(groups, consumer.id))

    def disown(self, consumer: Consumer) -> int:
        shelf = self._shelves[consumer.mailbox]
        mine = [group for group, owner in shelf.groups.items() if owner == consumer.id]
        for group in mine:
            del shelf.groups[group]
        if mine:
            shelf.look_again()
        return len(mine)

    def groups(self, mailbox_id: int) -> int:
        return len(self._shelves[mailbox_id].groups)

    def forget_groups(self, mailbox_id: int) -> None:
        shelf = self._shelves[mailbox_id]
        held = {entry.frame.route.group for each in self._listening[mailbox_id] for entry in self._hands[each].held.values()}
        shelf.groups = {group: owner for group, owner in shelf.groups.items() if group in held}
        shelf.look_again()

    def seen(self, destination: str, message_id: str, now: float) -> bool:
        return self._seen.get((destination, message_id), now) > now

    def remember(self, ids: Collection[tuple[str, str]], now: float, until: float, limit: int) -> None:
        seen = self._seen
        for each in ids:
            seen[each] = until
            seen.move_to_end(each)
        while seen and (len(seen) > limit or next(iter(seen.values())) <= now):
            seen.popitem(last=False)
