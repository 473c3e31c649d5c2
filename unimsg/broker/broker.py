"""The broker: connections and consumers, delivering and settling, leases and time. The rules, over any store.

Nothing here waits. After each operation `woken` holds the mailboxes in which something changed that somebody may wait for:
messages to take, room to send, or an end. The door empties it and wakes its waiters, and calls `tick` at `next_due`.
"""

from __future__ import annotations

from collections.abc import Sequence

from unimsg.broker.admin import Admin
from unimsg.broker.attach import mailbox_for
from unimsg.broker.gate import Full, Gate, matcher
from unimsg.broker.store import Consumer, Judge, Link, Mailbox, Store, Token, Verdict
from unimsg.driver import Delivery, Frame, Identity, Outcome, Settlement, Source
from unimsg.errors import ConnectionLostError, InvalidClientIDError, PartialSendError, SlowConsumerError, TransactionRolledBackError

__all__ = ["LEASE", "Broker"]

LEASE = 60.0
"""Seconds for which deliveries are lent to a connection that shows no sign of life."""

EXPIRY_SWEEP = 1.0
"""Seconds between two sweeps for messages that expired where nobody takes; those who take never see them anyhow."""

MANY_GROUPS = 10_000
"""Groups of one mailbox whose consumer is remembered; beyond it, idle ones are forgotten."""

_TAKE, _SKIP, _DROP = Verdict.TAKE, Verdict.SKIP, Verdict.DROP
_ACCEPT, _RELEASE = Outcome.ACCEPT, Outcome.RELEASE


class Broker(Admin):
    """JMS semantics over a store. `now` is seconds since the epoch, UTC, in every operation."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.gate = Gate(store, self.woken)
        self._swept = 0.0

    # Connections.

    def connect(self, identity: Identity, now: float, lease: float = LEASE) -> None:
        """Let a connection in, for `lease` seconds from each sign of life.

        Raises InvalidClientIDError if a live connection has this client id; one that has lapsed yields.
        """
        self._tick_if_due(now)
        self.disconnect(identity.connection_id, now)  # it is the same one again
        if identity.client_id is not None:
            for link in self.store.links():
                if link.client_id == identity.client_id:
                    if not link.lapsed and link.deadline > now:
                        raise InvalidClientIDError(f"the client id {identity.client_id!r} is in use by another connection")
                    self.disconnect(link.id, now)
        self.store.add_link(Link(identity.connection_id, identity.client_id, lease, now + lease))

    def disconnect(self, link_id: str, now: float) -> None:
        """End a connection: its consumers, live subscriptions and temporary destinations go. Unknown ones are ignored."""
        if self.store.link(link_id) is None:
            return
        for consumer in self.store.consumers(link_id=link_id):
            self.detach(consumer.id, now)
        for text in self.store.temporaries(link_id):
            self._remove_temporary(text)
        self.store.remove_link(link_id)

    def heartbeat(self, link_id: str, now: float) -> None:
        """Note that a connection is alive. Raises ConnectionLostError if the broker has given it up."""
        link = self._link(link_id)
        self.store.add_link(link._replace(deadline=now + link.lease, lapsed=False))

    def _alive(self, link_id: str, now: float) -> Link:
        """Return a connection, for which every call is a sign of life (noted when a third of the lease has gone)."""
        link = self._link(link_id)
        if link.lapsed or link.deadline - now < link.lease * 2 / 3:
            self.heartbeat(link_id, now)
        return link

    # Sending.

    def send(self, frames: Sequence[Frame], link_id: str, now: float, create: bool = True) -> None:
        """Let frames in. Raises Full where the door must wait and go on; PartialSendError, or the only error if none entered."""
        failures = self.gate.send(frames, self._alive(link_id, now), now, create)
        if failures:
            raise next(iter(failures.values())) if len(failures) == len(frames) else PartialSendError(failures)

    def commit(self, sends: Sequence[Frame], settlements: Sequence[tuple[int, Sequence[Settlement]]], link_id: str, now: float, create: bool = True) -> None:
        """Send and settle (by consumer) all or nothing.

        Raises TransactionRolledBackError if a token is stale, InvalidDestinationError, or Full: nothing has changed.
        """
        link = self._alive(link_id, now)
        for consumer_id, settled in settlements:
            stale = self.store.stale(consumer_id, [settlement.token for settlement in settled])
            if stale:
                raise TransactionRolledBackError(f"{len(stale)} of the deliveries in this transaction are no longer ours: their lease ran out")
        for frame in sends:
            self.gate.check(frame.route.destination, create)
        full = self.gate.full(sends, link, now, create)
        if full is not None:
            raise Full(full, 0, {})
        self.gate.send(sends, link, now, create, wait=False)
        for consumer_id, settled in settlements:
            self.settle(consumer_id, settled, now)

    # Receiving.

    def attach(self, source: Source, link_id: str, now: float, create: bool = True) -> int:
        """Make a consumer; what is sent from now on reaches it. Return its id.

        Raises InvalidDestinationError, InvalidSelectorError, IllegalStateError (a subscription in use).
        """
        link = self._alive(link_id, now)

        def evict(mailbox: Mailbox) -> None:
            for consumer in self.store.consumers(mailbox.id):
                other = self.store.link(consumer.link)
                if other is not None and other.id != link_id and (other.lapsed or other.deadline <= now):
                    self.disconnect(other.id, now)

        mailbox = mailbox_for(self.store, source, link, create, evict)
        selector = source.selector if mailbox.is_queue else None
        return self.store.add_consumer(Consumer(0, link_id, mailbox.id, selector)).id

    def consumer(self, consumer_id: int) -> Consumer:
        """Return a consumer. Raises ConnectionLostError if the broker has given its connection up."""
        consumer = self.store.consumer(consumer_id)
        if consumer is None:
            raise ConnectionLostError("the broker has given this consumer's connection up")
        return consumer

    def take(self, consumer_id: int, limit: int, now: float) -> list[Delivery]:
        """Lend up to `limit` messages. Raises SlowConsumerError once its live subscription was cut."""
        consumer = self.consumer(consumer_id)
        self._alive(consumer.link, now)
        self._tick_if_due(now)
        mailbox_id = consumer.mailbox
        mailbox = self.store.mailbox(mailbox_id)
        if mailbox is None:
            raise ConnectionLostError("what this consumer listened to is gone")
        if mailbox.cut:
            limit_text = "" if mailbox.overflow is None else f" of {mailbox.overflow.limit} messages"
            raise SlowConsumerError(f"the subscription to {mailbox.destination} fell behind its limit{limit_text} and was cut: open a new one")
        if limit <= 0:
            return []
        before = self.store.waiting(mailbox_id) if mailbox.overflow is not None and mailbox.overflow.policy == "block" else 0
        if limit > 1 and (competing := len(self.store.consumers(mailbox_id))) > 1:
            limit = min(limit, max(1, -(-self.store.waiting(mailbox_id) // competing)))  # the first to ask leaves the others their share
        if consumer.selector is None and self.store.plain(mailbox_id):
            found = self.store.take(consumer, limit, None)
        else:
            found = self._take_judged(consumer, limit, now)
        if before and mailbox.overflow is not None and before >= mailbox.overflow.limit > self.store.waiting(mailbox_id):
            self.woken.add(mailbox_id)  # there is room again
        return found

    def _take_judged(self, consumer: Consumer, limit: int, now: float) -> list[Delivery]:
        claimed: set[str] = set()
        found = self.store.take(consumer, limit, self._judge(consumer, now, claimed))
        if claimed:
            self.store.own(consumer, claimed)
            if self.store.groups(consumer.mailbox) > MANY_GROUPS:
                self.store.forget_groups(consumer.mailbox)
                self.woken.add(consumer.mailbox)
        return found

    def _judge(self, consumer: Consumer, now: float, claimed: set[str]) -> Judge:
        """Return what decides of each message whether this consumer gets it; groups that it takes up go to `claimed`."""
        matches, owner, mailbox_id, mine = matcher(consumer.selector), self.store.owner, consumer.mailbox, consumer.id

        def judge(frame: Frame) -> Verdict:
            route = frame.route
            if route.expires_at is not None and route.expires_at <= now:
                return _DROP
            if matches is not None and not matches(route):
                return _SKIP
            group = route.group
            if group is not None and group not in claimed:
                holder = owner(mailbox_id, group)
                if holder is None:
                    claimed.add(group)
                elif holder != mine:
                    return _SKIP
            return _TAKE

        return judge

    def settle(self, consumer_id: int, settlements: Sequence[Settlement], now: float) -> list[Token]:
        """Settle deliveries; return the stale tokens (not held by this consumer: settled before, or taken back)."""
        accepted = [token for token, outcome, _ in settlements if outcome is _ACCEPT]
        stale = self.store.accept(consumer_id, accepted) if accepted else []
        if len(accepted) == len(settlements):
            return stale
        consumer = self.store.consumer(consumer_id)
        back: dict[tuple[int, float | None], list[Token]] = {}
        for token, outcome, delay in settlements:
            if outcome is not _ACCEPT:
                key = (1, now + delay if delay > 0 else None) if outcome is _RELEASE else (0, None)
                back.setdefault(key, []).append(token)
        for (count, due), tokens in back.items():
            stale += self.store.give_back(consumer_id, tokens, count, due)
        if consumer is not None:
            self.woken.add(consumer.mailbox)
        return stale

    def extend(self, consumer_id: int, tokens: Sequence[Token], seconds: float, now: float) -> list[Token]:
        """Lend deliveries for at least `seconds` from now; return the stale tokens."""
        return self.store.extend(consumer_id, tokens, now + seconds)

    def detach(self, consumer_id: int, now: float) -> None:
        """End a consumer: what it holds goes back, counted as delivered. Unknown ones are ignored."""
        del now  # a door passes it to every operation
        consumer = self.store.consumer(consumer_id)
        if consumer is None:
            return
        mailbox = self.store.mailbox(consumer.mailbox)
        if mailbox is not None:
            self.store.give_back_all(consumer_id, None)
            self.store.disown(consumer)
            self.woken.add(consumer.mailbox)
        self.store.remove_consumer(consumer_id)
        if mailbox is not None and not mailbox.is_queue and not mailbox.durable and not self.store.consumers(mailbox.id):
            self.store.remove_mailbox(mailbox.id)

    def dropped(self, consumer_id: int) -> int:
        """Return how many messages the overflow policy of a consumer's subscription has dropped."""
        consumer = self.store.consumer(consumer_id)
        return 0 if consumer is None else self.store.dropped(consumer.mailbox)

    # Time.

    def next_due(self) -> float | None:
        """Return when `tick` has something to do."""
        store = self.store
        due, wake, expiry = store.next_lapse(), store.next_wake(), store.next_expiry()
        if wake is not None and (due is None or wake < due):
            due = wake
        if expiry is not None:
            expiry = max(expiry, self._swept + EXPIRY_SWEEP)
            if due is None or expiry < due:
                due = expiry
        return due

    def _tick_if_due(self, now: float) -> None:
        due = self.next_due()
        if due is not None and due <= now:
            self.tick(now)

    def tick(self, now: float) -> None:
        """Do what is due: delayed messages become available, expired ones go, and leases that ran out are taken back."""
        store = self.store
        self.woken.update(store.wake(now))
        if abs(now - self._swept) >= EXPIRY_SWEEP:
            self._swept = now
            self.woken.update(store.expire(now))
        due = store.next_lapse()
        if due is None or due > now:
            return
        for link in store.links():
            if link.lapsed or link.deadline <= now:
                for consumer in store.consumers(link_id=link.id):
                    self._take_back(consumer, now)
                if not link.lapsed:
                    store.add_link(link._replace(lapsed=True))

    def _take_back(self, consumer: Consumer, now: float) -> None:
        if self.store.mailbox(consumer.mailbox) is None:
            return
        self.store.give_back_all(consumer.id, now)
        if self.store.held(consumer.mailbox):  # maybe its extended ones: their groups stay with it
            self.store.forget_groups(consumer.mailbox)
        else:
            self.store.disown(consumer)
        self.woken.add(consumer.mailbox)
