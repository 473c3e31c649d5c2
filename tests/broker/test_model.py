"""The broker against a plain model, a list and a few dictionaries, over thousands of random steps and every store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from unimsg.broker import Full
from unimsg.destination import Destination, Queue, Topic
from unimsg.driver import Outcome, Overflow, Settlement
from unimsg.errors import SlowConsumerError, TransactionRolledBackError

from .desk import STORES, Desk, frame

LEASE = 10.0
QUEUES = [Queue("q1"), Queue("q2")]
TOPICS = [Topic("t.a"), Topic("t.b")]
PATTERNS = [*TOPICS, Topic("t.*"), Topic(">")]
LIMIT = 4


@dataclass
class Copy:
    """A message in one mailbox."""

    seq: int
    text: str
    priority: int
    group: str | None
    expires: float | None
    due: float | None
    odd: bool
    count: int = 0
    holder: Any = None
    until: float = 0.0


@dataclass
class Box:
    """A mailbox: a queue or a subscription."""

    destination: Destination[Any]
    odd_only: bool = False
    no_local: str | None = None
    name: str | None = None
    policy: str | None = None
    cut: bool = False
    dropped: int = 0
    copies: list[Copy] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)

    def waiting(self) -> list[Copy]:
        return [copy for copy in self.copies if copy.holder is None]


@dataclass
class Reader:
    """A consumer, and what it has in hand: token to copy."""

    link: str
    box: Box
    odd_only: bool = False
    hand: dict[Any, Copy] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Does everything twice: with the broker, and with lists."""

    make: Callable[[Path], Any]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.desk = Desk(type(self).make(Path(self.folder.name)))
        self.boxes: list[Box] = []
        self.readers: dict[int, Reader] = {}
        self.links: dict[str, float] = {}  # deadline
        self.lapsed: set[str] = set()
        self.seq = 0
        self.old: list[tuple[int, Any]] = []
        self.ids: dict[tuple[str, str], float] = {}

    def teardown(self) -> None:
        if hasattr(self.desk.store, "close"):
            self.desk.store.close()
        self.folder.cleanup()

    # The model's own rules.

    def alive(self, link: str) -> None:
        """Every call of a connection shows that it lives; noted when a third of the lease has gone."""
        if link in self.lapsed or self.links[link] - self.desk.now < LEASE * 2 / 3:
            self.links[link] = self.desk.now + LEASE
            self.lapsed.discard(link)

    def tick(self) -> None:
        """Time has been noticed: what was delayed waits, and what was lent to those who are silent comes back."""
        self.wake()
        for link, deadline in self.links.items():
            if link in self.lapsed or deadline <= self.desk.now:
                self.lapsed.add(link)
                for number, reader in self.readers.items():
                    if reader.link != link:
                        continue
                    for token, copy in list(reader.hand.items()):
                        if copy.until <= self.desk.now:
                            self.back(reader, token, 1)
                    held = {copy.group for copy in reader.box.copies if copy.holder is not None}
                    reader.box.groups = {
                        group: owner for group, owner in reader.box.groups.items() if (group in held if self.any_held(reader.box) else owner != number)
                    }

    def wake(self) -> None:
        for box in self.boxes:
            for copy in box.copies:
                if copy.due is not None and copy.due <= self.desk.now:
                    copy.due = None

    def tick_if_due(self) -> None:
        now = self.desk.now
        extended = [copy.until for reader in self.readers.values() if reader.link in self.lapsed for copy in reader.hand.values() if copy.until]
        delayed = [copy.due for box in self.boxes for copy in box.copies if copy.due is not None]
        if any(due <= now for due in [*extended, *delayed, *(deadline for link, deadline in self.links.items() if link not in self.lapsed)]):
            self.tick()

    @staticmethod
    def any_held(box: Box) -> bool:
        return any(copy.holder is not None for copy in box.copies)

    def back(self, reader: Reader, token: Any, counted: int, due: float | None = None) -> None:
        copy = reader.hand.pop(token)
        copy.holder, copy.until, copy.due = None, 0.0, due
        copy.count += counted

    def ready(self, box: Box) -> list[Copy]:
        found = [copy for copy in box.waiting() if copy.due is None and not self.over(copy)]
        return sorted(found, key=lambda copy: (-copy.priority, copy.seq))

    def over(self, copy: Copy) -> bool:
        return copy.expires is not None and copy.expires <= self.desk.now

    def sweep(self, box: Box) -> None:
        box.copies = [copy for copy in box.copies if copy.holder is not None or copy.due is not None or not self.over(copy)]

    def box_of(self, queue: Destination[Any]) -> Box:
        for box in self.boxes:
            if box.destination == queue:
                return box
        self.boxes.append(Box(queue))
        return self.boxes[-1]

    def targets(self, destination: Destination[Any], link: str, odd: bool) -> list[Box]:
        if not destination.is_topic:
            return [self.box_of(destination)]
        heard = [box for box in self.boxes if isinstance(box.destination, Topic) and box.destination.matches(destination.name)]
        return [box for box in heard if not box.cut and (odd or not box.odd_only) and box.no_local != link]

    def full(self, box: Box) -> bool:
        if box.policy is None or len(box.waiting()) < LIMIT:
            return False
        self.sweep(box)
        return len(box.waiting()) >= LIMIT

    def abandoned(self, box: Box) -> bool:
        links = [reader.link for reader in self.readers.values() if reader.box is box]
        return all(link in self.lapsed or self.links[link] <= self.desk.now for link in links)

    def put(self, box: Box, **facts: Any) -> None:
        self.seq += 1
        box.copies.append(Copy(self.seq, **facts))

    # Steps.

    @initialize(data=st.data())
    def first(self, data: st.DataObject) -> None:
        self.connect("a")
        self.connect("b")
        for queue in (QUEUES[0], QUEUES[0], QUEUES[1]):
            self.listen(data, queue, odd_only=False)

    @rule(data=st.data(), what=st.sampled_from(["connect", "disconnect", "detach", "heartbeat", "purge", "browse", "inspect", "take_from_any"]))
    def now_and_then(self, data: st.DataObject, what: str) -> None:
        """Do one of those things that only look, or that end things: most steps are to move messages."""
        if what in ("connect", "disconnect"):
            getattr(self, what)(data.draw(st.sampled_from("ab")))
        elif what in ("detach", "heartbeat", "take_from_any"):
            getattr(self, what)(data)
        elif what == "inspect":
            self.inspect()
        else:
            getattr(self, what)(data.draw(st.sampled_from(QUEUES)), data.draw(st.integers(1, 3)))

    def connect(self, link: str) -> None:
        if link not in self.links:
            self.desk.link(link, lease=LEASE)
            self.tick_if_due()
            self.links[link] = self.desk.now + LEASE

    @precondition(lambda self: len(self.readers) < 6)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["listen", "listen", "subscribe", "share"]),
        odd_only=st.booleans(),
    )
    def join(self, data: st.DataObject, kind: str, odd_only: bool) -> None:
        if kind == "listen":
            self.listen(data, data.draw(st.sampled_from(QUEUES)), odd_only)
        elif kind == "share":
            self.share(data, data.draw(st.sampled_from(["s1", "s2"])), durable=odd_only)
        else:
            no_local, policy = data.draw(st.booleans()), data.draw(st.sampled_from(["block", "drop", "fail"]))
            self.subscribe(data, data.draw(st.sampled_from(PATTERNS)), odd_only, no_local, policy)

    def listen(self, data: st.DataObject, queue: Queue[Any], odd_only: bool) -> None:
        link = data.draw(st.sampled_from(sorted(self.links)))
        if len(self.readers) < 6:
            number = self.desk.consumer(link, queue, selector="odd" if odd_only else None)
            self.alive(link)
            self.readers[number] = Reader(link, self.box_of(queue), odd_only)

    def subscribe(self, data: st.DataObject, topic: Topic[Any], odd_only: bool, no_local: bool, policy: str) -> None:
        link = data.draw(st.sampled_from(sorted(self.links)))
        if len(self.readers) < 6:
            selector = "odd" if odd_only else None
            number = self.desk.consumer(link, topic, selector=selector, no_local=no_local, overflow=Overflow(policy, LIMIT))
            self.alive(link)
            self.boxes.append(Box(topic, odd_only, link if no_local else None, policy=policy))
            self.readers[number] = Reader(link, self.boxes[-1])

    def share(self, data: st.DataObject, name: str, durable: bool) -> None:
        link = data.draw(st.sampled_from(sorted(self.links)))
        name = f"{name}.{durable}"
        if len(self.readers) < 6:
            overflow = Overflow("block", 1000)
            number = self.desk.consumer(link, TOPICS[0], subscription=name, shared=True, durable=durable, overflow=overflow)
            self.alive(link)
            box = next((box for box in self.boxes if box.name == name), None)
            if box is None:
                box = Box(TOPICS[0], name=name)
                self.boxes.append(box)
            self.readers[number] = Reader(link, box)

    @rule(
        data=st.data(),
        destination=st.sampled_from([QUEUES[0], *QUEUES, *TOPICS]),
        number=st.integers(1, 6),
        priority=st.sampled_from([4, 4, 9, 0]),
        group=st.sampled_from([None, None, "g", "h"]),
        ttl=st.sampled_from([None, None, None, None, 0.5, 3.0]),
        delay=st.sampled_from([None, None, None, None, 2.0, 5.0]),
        once=st.sampled_from([*[None] * 8, "1", "2"]),
    )
    def send(
        self,
        data: st.DataObject,
        destination: Destination[Any],
        number: int,
        priority: int,
        group: str | None,
        ttl: float | None,
        delay: float | None,
        once: str | None,
    ) -> None:
        link, now = data.draw(st.sampled_from(sorted(self.links))), self.desk.now
        facts = {
            "priority": priority,
            "group": group,
            "expires": None if ttl is None else now + ttl,
            "due": None if delay is None else now + delay,
        }
        frames = [
            frame(
                destination,
                f"{self.seq}.{index}",
                priority=priority,
                group=group,
                expires_at=facts["expires"],
                deliver_at=facts["due"],
                message_id=once,
                once=once is not None,
                properties={"odd": index % 2 == 1},
            )
            for index in range(number)
        ]
        try:
            self.desk.send(frames, link)
            done = number
        except Full as full:
            done = full.done
        self.alive(link)
        self.enter(destination, link, frames, facts, done, waits=True)

    def enter(self, destination: Destination[Any], link: str, frames: list[Any], facts: dict[str, Any], done: int, waits: bool) -> None:
        now = self.desk.now
        for index, each in enumerate(frames):
            once = each.route.message_id
            if once is not None and self.ids.get((str(destination), once), 0.0) > now:
                continue
            boxes = self.targets(destination, link, index % 2 == 1)
            for box in boxes:
                if self.full(box) and box.policy == "block" and not self.abandoned(box) and waits:
                    assert done == index
                    return
                if self.full(box) and (box.policy == "fail" or (box.policy == "block" and self.abandoned(box))):
                    box.dropped += len(box.waiting()) + 1
                    box.copies = [copy for copy in box.copies if copy.holder is not None]
                    box.cut = True
            for box in boxes:
                if not box.cut:
                    self.put(box, text=each.data.decode(), odd=index % 2 == 1, **facts)
            if once is not None:
                self.ids[str(destination), once] = now + 120
        assert done == len(frames)
        for box in self.boxes:
            if box.policy == "drop" and len(box.waiting()) > LIMIT:
                self.sweep(box)
                while len(box.waiting()) > LIMIT:
                    oldest = min(box.waiting(), key=lambda copy: (copy.due or 0, copy.seq))
                    box.copies.remove(oldest)
                    box.dropped += 1

    def take_from_any(self, data: st.DataObject) -> None:
        if self.readers:
            self.take(data.draw(st.sampled_from(sorted(self.readers))), 2)

    @precondition(lambda self: self.promising())
    @rule(data=st.data(), limit=st.integers(1, 4))
    def take_where_something_waits(self, data: st.DataObject, limit: int) -> None:
        self.take(data.draw(st.sampled_from(self.promising())), limit)

    def promising(self) -> list[int]:
        return sorted(number for number, reader in self.readers.items() if reader.box.waiting())

    def take(self, number: int, limit: int) -> None:
        reader = self.readers[number]
        box, now = reader.box, self.desk.now
        self.alive(reader.link)
        self.tick_if_due()
        try:
            found = self.desk.take(number, limit)
        except SlowConsumerError:
            assert box.cut
            return
        assert not box.cut
        able: list[Copy] = []
        owners = dict(box.groups)
        for copy in self.ready(box):
            if reader.odd_only and not copy.odd:
                continue
            mine = copy.group is None or owners.setdefault(copy.group, number) == number
            if mine:
                able.append(copy)
        # Of several consumers each takes its share; what has expired and was not swept yet may or may not be shared out too.
        rivals = sum(other.box is box for other in self.readers.values()) if limit > 1 else 1
        least, most = (
            min(limit, max(1, -(-len(waiting) // rivals))) for waiting in ([copy for copy in box.waiting() if copy.due or not self.over(copy)], box.waiting())
        )
        assert min(least, len(able)) <= len(found) <= most
        want = able[: len(found)]
        box.groups.update((copy.group, number) for copy in want if copy.group is not None)
        assert [(each.frame.data.decode(), each.count) for each in found] == [(copy.text, copy.count + 1) for copy in want]
        for each, copy in zip(found, want, strict=True):
            assert each.token not in reader.hand
            copy.holder, copy.due = number, None
            reader.hand[each.token] = copy
        assert all(copy.expires is None or copy.expires > now for copy in want)

    @precondition(lambda self: any(reader.hand for reader in self.readers.values()))
    @rule(data=st.data(), outcome=st.sampled_from(Outcome), again=st.booleans(), delay=st.sampled_from([0.0, 0.0, 4.0]))
    def settle(self, data: st.DataObject, outcome: Outcome, again: bool, delay: float) -> None:
        number = data.draw(st.sampled_from(sorted(number for number, reader in self.readers.items() if reader.hand)))
        reader = self.readers[number]
        tokens = data.draw(st.lists(st.sampled_from(sorted(reader.hand)), unique=True, min_size=1, max_size=3))
        stale = [token for other, token in self.old if other == number][:1]
        assert self.desk.settle(number, [Settlement(token, outcome, delay) for token in tokens + stale]) == stale
        for token in tokens:
            self.settled(number, token, outcome, delay)
        if again:
            self.take(number, 6)

    @precondition(lambda self: self.promising())
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.RELEASE, Outcome.UNSEEN]), first=st.integers(1, 4))
    def take_give_back_and_take(self, data: st.DataObject, outcome: Outcome, first: int) -> None:
        number = data.draw(st.sampled_from(self.promising()))
        self.take(number, first)
        tokens = list(self.readers[number].hand)
        if tokens:
            some = data.draw(st.lists(st.sampled_from(tokens), unique=True, min_size=1))
            assert self.desk.settle(number, [Settlement(token, outcome) for token in some]) == []
            for token in some:
                self.settled(number, token, outcome, 0.0)
        self.take(data.draw(st.sampled_from(sorted(self.readers))), 6)

    def settled(self, number: int, token: Any, outcome: Outcome, delay: float) -> None:
        reader = self.readers[number]
        self.old.append((number, token))
        if outcome is Outcome.ACCEPT:
            reader.box.copies.remove(reader.hand.pop(token))
        elif outcome is Outcome.UNSEEN:
            self.back(reader, token, 0)
        else:
            self.back(reader, token, 1, self.desk.now + delay if delay else None)

    @precondition(lambda self: any(reader.hand for reader in self.readers.values()))
    @rule(data=st.data(), seconds=st.sampled_from([1.0, 15.0, 30.0]))
    def extend(self, data: st.DataObject, seconds: float) -> None:
        number = data.draw(st.sampled_from(sorted(number for number, reader in self.readers.items() if reader.hand)))
        reader = self.readers[number]
        token = data.draw(st.sampled_from(sorted(reader.hand)))
        assert self.desk.extend(number, [token], seconds) == []
        reader.hand[token].until = max(reader.hand[token].until, self.desk.now + seconds)

    @precondition(lambda self: any(reader.hand for reader in self.readers.values()))
    @rule(data=st.data(), queue=st.sampled_from(QUEUES), spoil=st.booleans())
    def commit(self, data: st.DataObject, queue: Queue[Any], spoil: bool) -> None:
        number = data.draw(st.sampled_from(sorted(number for number, reader in self.readers.items() if reader.hand)))
        reader = self.readers[number]
        tokens = sorted(reader.hand)[:2]
        settled = [Settlement(token) for token in tokens]
        sent = frame(queue, f"{self.seq}.tx", properties={"odd": False})
        if spoil:
            with pytest.raises(TransactionRolledBackError):
                self.desk.commit([sent], [(number, [*settled, Settlement(-1)])], reader.link)
            self.alive(reader.link)
            return
        self.desk.commit([sent], [(number, settled)], reader.link)
        self.alive(reader.link)
        self.put(self.box_of(queue), text=f"{self.seq}.tx", odd=False, priority=4, group=None, expires=None, due=None)
        for token in tokens:
            self.settled(number, token, Outcome.ACCEPT, 0.0)

    def detach(self, data: st.DataObject) -> None:
        if not self.readers:
            return
        number = data.draw(st.sampled_from(sorted(self.readers)))
        self.desk.detach(number)
        self.gone(number)

    def gone(self, number: int) -> None:
        reader = self.readers.pop(number)
        for token in list(reader.hand):
            self.back(reader, token, 1)
        box = reader.box
        box.groups = {group: owner for group, owner in box.groups.items() if owner != number}
        live = box.destination.is_topic and not (box.name or "").endswith("True")
        if live and not any(other.box is box for other in self.readers.values()):
            self.boxes = [each for each in self.boxes if each is not box]

    def disconnect(self, link: str) -> None:
        if len(self.links) < 2:
            return
        self.desk.disconnect(link)
        self.links.pop(link)
        self.lapsed.discard(link)
        for number in [number for number, reader in self.readers.items() if reader.link == link]:
            self.gone(number)

    def heartbeat(self, data: st.DataObject) -> None:
        link = data.draw(st.sampled_from(sorted(self.links)))
        self.desk.heartbeat(link)
        self.links[link] = self.desk.now + LEASE
        self.lapsed.discard(link)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 2.0, 4.0, 11.0]), noticed=st.booleans())
    def time_passes(self, seconds: float, noticed: bool) -> None:
        self.desk.now += seconds
        if noticed:
            self.desk.tick()
            self.tick()

    def purge(self, queue: Queue[Any], _: int) -> None:
        if any(box.destination == queue for box in self.boxes):
            self.desk.inspect()  # which sweeps
            self.wake()
            box = self.box_of(queue)
            self.sweep(box)
            assert self.desk.purge(queue, None, next(iter(self.links))) == len(box.waiting())
            box.copies = [copy for copy in box.copies if copy.holder is not None]

    def browse(self, queue: Queue[Any], page: int) -> None:
        self.wake()
        found, after = [], None
        while True:
            frames, after = self.desk.browse(queue, None, after, page, next(iter(self.links)))
            found += [each.data.decode() for each in frames]
            if after is None:
                break
        assert found == [copy.text for copy in self.ready(self.box_of(queue))] if any(box.destination == queue for box in self.boxes) else not found

    def inspect(self) -> None:
        found = [(info.destination.name, info.subscription or "", info.depth, info.in_flight, info.consumers) for info in self.desk.inspect()]
        self.wake()
        want = []
        for box in self.boxes:
            self.sweep(box)
            held = sum(copy.holder is not None for copy in box.copies)
            readers = sum(reader.box is box for reader in self.readers.values())
            want.append((box.destination.name, box.name or "", len(box.copies) - held, held, readers))
        assert sorted(found) == sorted(want)

    @invariant()
    def drops_are_counted(self) -> None:
        for number, reader in self.readers.items():
            assert self.desk.dropped_of(number) == reader.box.dropped


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", STORES)
def test_the_broker_does_what_the_model_does(store: str) -> None:
    run_state_machine_as_test(
        type("Case", (Machine,), {"make": staticmethod(STORES[store])}),
        settings=settings(
            max_examples=200 if store == "memory" else 60,
            stateful_step_count=60,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
