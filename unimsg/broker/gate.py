"""How messages enter: where a frame goes, which filters it passes, whether there is room, and whether it was here before.

A queue is its own mailbox; a topic goes to every subscription of that time whose pattern, selector and no_local let it in
(JMS 3.1 §8.3, §3.8: a selector decides what enters a subscription; §7.9: delayed copies go to those of send time).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from unimsg.broker.store import Link, Mailbox, Store
from unimsg.destination import Destination
from unimsg.driver import Frame, Overflow, Route
from unimsg.errors import InvalidDestinationError, UnimsgError

__all__ = ["DEDUPLICATION_IDS", "DEDUPLICATION_SECONDS", "Full", "Gate", "matcher"]

DEDUPLICATION_SECONDS = 120.0
DEDUPLICATION_IDS = 100_000
MANY_ROUTES = 10_000


class Full(Exception):  # noqa: N818  - no error: the door waits for room and goes on
    """Say that `mailbox` has no room (overflow "block"): the frames before `done` were taken, but for `failures`."""

    def __init__(self, mailbox: int, done: int, failures: dict[int, Exception]) -> None:
        super().__init__(f"mailbox {mailbox} is full")
        self.mailbox = mailbox
        self.done = done
        self.failures = failures


class Target(NamedTuple):
    """A mailbox that a destination goes to, and what it lets in."""

    mailbox: int
    matches: Callable[[Route], bool] | None = None
    not_from: Callable[[Link], bool] | None = None
    overflow: Overflow | None = None

    def lets_in(self, route: Route, sender: Link) -> bool:
        """Tell whether a message enters."""
        return (self.matches is None or self.matches(route)) and (self.not_from is None or not self.not_from(sender))


def matcher(selector: str | None) -> Callable[[Route], bool] | None:
    """Return the test that a selector makes of a route, None for no selector. Raises InvalidSelectorError."""
    if selector is None:
        return None
    from unimsg.selector import compile_selector

    compiled = compile_selector(selector)
    return None if compiled is None else compiled.matches_route


class Gate:
    """Let frames in. `woken` is the broker's set of mailboxes in which something changed."""

    def __init__(self, store: Store, woken: set[int]) -> None:
        self.store = store
        self.woken = woken
        self._routes: dict[str, tuple[Target, ...]] = {}
        self._generation: object = None

    def check(self, destination: Destination[Any], create: bool) -> None:
        """Refuse a destination that cannot be sent to, changing nothing. Raises InvalidDestinationError."""
        if destination.is_pattern:
            raise InvalidDestinationError(f"{destination}: a pattern is for listening, not for sending")
        text = str(destination)
        if destination.is_temporary:
            if self.store.temporary(text) is None:
                raise InvalidDestinationError(f"{text} is gone: a temporary destination ends with the connection that made it")
        elif not destination.is_topic and not create and self.store.queue(text) is None:
            raise InvalidDestinationError(f"{text} is not there, and the URL says create=require: declare it first")

    def targets(self, destination: Destination[Any], create: bool) -> tuple[Target, ...]:
        """Return where a destination goes; a queue is made if need be. Raises InvalidDestinationError."""
        text = str(destination)
        if self.store.generation != self._generation:
            self._routes.clear()
            self._generation = self.store.generation
        found = self._routes.get(text)
        if found is None:
            self.check(destination, create)
            if destination.is_topic:
                found = tuple(self._target(each) for each in self.store.mailboxes() if self._hears(each, destination))
            else:
                mailbox = self.store.queue(text) or self.store.add_mailbox(Mailbox(0, destination))
                found = (Target(mailbox.id),)
            if len(self._routes) >= MANY_ROUTES:
                self._routes.clear()
            if self.store.generation == self._generation:
                self._routes[text] = found
        return found

    @staticmethod
    def _hears(mailbox: Mailbox, topic: Destination[Any]) -> bool:
        pattern: Any = mailbox.destination  # a temporary topic is heard by its own subscriptions only, whatever the pattern
        return bool(pattern.is_topic and not mailbox.cut and pattern.kind == topic.kind and pattern.matches(topic.name))

    @staticmethod
    def _target(mailbox: Mailbox) -> Target:
        not_from: Callable[[Link], bool] | None = None
        if mailbox.no_local and mailbox.durable:  # §8.3.3: its own connection, or any other of the same client id
            not_from = lambda link: link.client_id is not None and link.client_id == mailbox.client_id  # noqa: E731
        elif mailbox.no_local:
            not_from = lambda link: link.id == mailbox.owner  # noqa: E731
        return Target(mailbox.id, matcher(mailbox.selector), not_from, mailbox.overflow)

    def send(self, frames: Sequence[Frame], sender: Link, now: float, create: bool, wait: bool = True) -> dict[int, Exception]:
        """Let frames in, in order; return those that could not be, by position, with the reason.

        Raises Full where a live subscription blocks, unless `wait` is False (a commit, which has looked before).
        """
        plan: dict[int, list[Frame]] = {}
        room: dict[int, int] = {}
        failures: dict[int, Exception] = {}
        new: dict[tuple[str, str], None] = {}
        last: Destination[Any] | None = None
        targets: tuple[Target, ...] = ()
        bucket: list[Frame] | None = None
        try:
            for position, frame in enumerate(frames):
                route = frame.route
                destination = route.destination
                if destination is not last:
                    last, bucket = destination, None
                    try:
                        targets = self.targets(destination, create)
                    except UnimsgError as error:
                        failures[position], last = error, None
                        continue
                    if len(targets) == 1 and targets[0][1:] == (None, None, None):
                        bucket = plan.setdefault(targets[0].mailbox, [])
                key = None
                if route.once and route.message_id is not None:
                    key = str(destination), route.message_id
                    if key in new or self.store.seen(*key, now):
                        continue
                if bucket is not None:
                    bucket.append(frame)
                else:
                    entered = [target for target in targets if target.lets_in(route, sender)]
                    for target in entered:
                        if not self._has_room(target, room, plan, now):
                            if target.overflow is not None and target.overflow.policy == "block" and not self.abandoned(target.mailbox, now):
                                if wait:
                                    raise Full(target.mailbox, position, failures)  # before anything of this frame has changed
                            else:
                                self.cut(target.mailbox, len(plan.pop(target.mailbox, ())) + 1)
                                entered = [each for each in entered if each is not target]
                                last = None  # look again where this topic goes
                    for target in entered:
                        plan.setdefault(target.mailbox, []).append(frame)
                        if target.mailbox in room:
                            room[target.mailbox] -= 1
                if key is not None:
                    new[key] = None
        finally:
            self._let_in(plan, now)
            if new:
                self.store.remember(new, now, now + DEDUPLICATION_SECONDS, DEDUPLICATION_IDS)
        return failures

    def _has_room(self, target: Target, room: dict[int, int], plan: dict[int, list[Frame]], now: float) -> bool:
        """Tell whether a live subscription may take one more; `room` remembers how many more, beyond those of the plan."""
        mailbox, overflow = target.mailbox, target.overflow
        if overflow is None or overflow.policy == "drop":  # which trims when all have entered
            return True
        if mailbox not in room:
            room[mailbox] = overflow.limit - self.store.waiting(mailbox)
        if room[mailbox] <= 0 and mailbox in self.store.expire(now):
            room[mailbox] = overflow.limit - self.store.waiting(mailbox) - len(plan.get(mailbox, ()))
        return room[mailbox] > 0

    def _let_in(self, plan: dict[int, list[Frame]], now: float) -> None:
        plan = {mailbox: frames for mailbox, frames in plan.items() if frames}
        if not plan:
            return
        self.store.append(plan, now)
        self.woken.update(plan)
        for target in plan:
            mailbox = self.store.mailbox(target)
            if mailbox is not None and mailbox.overflow is not None and mailbox.overflow.policy == "drop":
                self._trim(target, mailbox.overflow.limit, now)

    def _trim(self, mailbox_id: int, limit: int, now: float) -> None:
        if self.store.waiting(mailbox_id) > limit:
            self.store.expire(now)  # the dead before the living
            over = self.store.waiting(mailbox_id) - limit
            if over > 0:
                self.store.add_dropped(mailbox_id, self.store.drop_oldest(mailbox_id, over))

    def full(self, frames: Sequence[Frame], sender: Link, now: float, create: bool) -> int | None:
        """Return a mailbox that has no room at all for one of the frames and blocks, None if all may enter."""
        room: dict[int, int] = {}
        for frame in frames:
            if not frame.route.destination.is_topic:
                continue
            for target in self.targets(frame.route.destination, create):
                blocks = target.overflow is not None and target.overflow.policy == "block" and target.lets_in(frame.route, sender)
                if blocks and not self._has_room(target, room, {}, now) and not self.abandoned(target.mailbox, now):
                    return target.mailbox
        return None

    def abandoned(self, mailbox_id: int, now: float) -> bool:
        """Tell whether nobody alive listens to a live subscription: its publishers need not wait."""
        links = [self.store.link(consumer.link) for consumer in self.store.consumers(mailbox_id)]
        return all(link is None or link.lapsed or link.deadline <= now for link in links)

    def cut(self, mailbox_id: int, more: int) -> None:
        """Let nothing more into a live subscription that fell behind; what it has not handed out is dropped, and counted."""
        mailbox = self.store.mailbox(mailbox_id)
        if mailbox is not None and not mailbox.cut:
            self.store.add_dropped(mailbox_id, self.store.purge(mailbox_id) + more)
            self.store.add_mailbox(mailbox._replace(cut=True))
            self.woken.add(mailbox_id)
