"""What the broker wants of a store: mailboxes that keep messages in order, lend them and take them back, and small records.

The rules (who may, what enters, what is counted, when a lease is over) are the broker's; the store's are three:
1. A mailbox gives in the order (priority descending, sequence ascending); what comes back goes back to its own place.
2. A message is in one of three states: *waiting*, *delayed* until its time (counted as waiting, never given) or *held* by
   one consumer under a token that no other hand-out has ever had.
3. Nothing is lost: a message leaves only by `accept`, `drop_oldest`, `purge`, `expire`, a `DROP` verdict, or with its mailbox.

The broker checks before it changes anything, so an operation that raises one of our errors has changed nothing, and the
door may run several operations in one transaction of the store. Three outcomes are no such errors, and what they leave
must be committed: `Full` and `PartialSendError` (the frames before the refused one are in) and a subscription that was
cut. All calls come from one thread at a time. Where several processes share the state, every call must see what the
others have committed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from unimsg.destination import Destination
from unimsg.driver import Delivery, Frame, Overflow

__all__ = ["Consumer", "Judge", "Link", "Mailbox", "Store", "Token", "Verdict"]

Token = Any
"""What a delivery is settled by: the store's own, hashable, an int or a str (it may travel in a stanza)."""


class Verdict(enum.IntEnum):
    """What the broker says of a waiting message that a consumer could get.

    SKIP is lasting: the same consumer need not be asked about this message again until `disown` was called for its
    mailbox, or the message has been held or delayed in between. A store may use that, so as not to look twice.
    """

    TAKE = 0
    SKIP = 1
    DROP = 2


Judge = Callable[[Frame], Verdict]
"""Called for waiting messages in order, until enough are taken; it touches no store."""


class Link(NamedTuple):
    """A connection. Its consumers' deliveries are lent until `deadline`; `lapsed` once they have been taken back."""

    id: str
    client_id: str | None
    lease: float
    deadline: float
    lapsed: bool = False


class Mailbox(NamedTuple):
    """A queue, or a subscription to a topic (whose `destination` may be a pattern); `id` is given by the store, from 1.

    `owner` is the connection that a temporary queue or a live, unshared subscription lives with. `client_id` is the scope
    of a subscription's name. `overflow` is set for live subscriptions only. `cut`: it fell behind, and gets nothing more.
    """

    id: int
    destination: Destination[Any]
    subscription: str | None = None
    client_id: str | None = None
    durable: bool = False
    shared: bool = False
    selector: str | None = None
    no_local: bool = False
    owner: str | None = None
    overflow: Overflow | None = None
    cut: bool = False

    @property
    def is_queue(self) -> bool:
        """Tell a queue from a subscription."""
        return not self.destination.is_topic


class Consumer(NamedTuple):
    """One receiver on one mailbox; `selector` only where the mailbox is a queue. `id` is given by the store, from 1."""

    id: int
    link: str
    mailbox: int
    selector: str | None = None


class Store(Protocol):
    """The state of one broker."""

    # Records. An `add_…` whose record has id 0 gives it one that was never used before.

    @property
    def generation(self) -> object:
        """Return a value that differs from all before once mailboxes or temporaries have changed, by anybody, or were rolled back.

        The broker remembers which mailboxes a topic goes to for as long as this stays equal.
        """

    def add_link(self, link: Link) -> None:
        """Keep a connection, or replace the one of this id."""

    def link(self, link_id: str) -> Link | None:
        """Return a connection."""

    def links(self) -> Collection[Link]:
        """Return all connections."""

    def remove_link(self, link_id: str) -> None:
        """Forget a connection (the broker has detached its consumers before)."""

    def add_mailbox(self, mailbox: Mailbox) -> Mailbox:
        """Keep a mailbox, or replace the one of this id (its messages stay); return it with its id."""

    def mailbox(self, mailbox_id: int) -> Mailbox | None:
        """Return a mailbox."""

    def queue(self, destination: str) -> Mailbox | None:
        """Return the mailbox of a queue, `queue:orders` or `temporary-queue:…`."""

    def mailboxes(self) -> Collection[Mailbox]:
        """Return all mailboxes, in order of id."""

    def remove_mailbox(self, mailbox_id: int) -> None:
        """Forget a mailbox with all its messages, held ones too (their tokens become stale), and its groups; an unknown one is ignored."""

    def add_consumer(self, consumer: Consumer) -> Consumer:
        """Keep a consumer; return it with its id."""

    def consumer(self, consumer_id: int) -> Consumer | None:
        """Return a consumer."""

    def consumers(self, mailbox_id: int | None = None, link_id: str | None = None) -> Sequence[Consumer]:
        """Return the consumers of a mailbox, or of a connection, or all, in order of id."""

    def remove_consumer(self, consumer_id: int) -> None:
        """Forget a consumer (the broker has given back what it held, and its groups, before)."""

    def add_temporary(self, destination: str, link_id: str) -> None:
        """Keep that a temporary destination is there, and whose it is."""

    def temporary(self, destination: str) -> str | None:
        """Return the connection of a temporary destination, None if there is no such destination."""

    def temporaries(self, link_id: str) -> Sequence[str]:
        """Return the temporary destinations of a connection."""

    def remove_temporary(self, destination: str) -> None:
        """Forget a temporary destination."""

    def dropped(self, mailbox_id: int) -> int:
        """Return how many messages its overflow policy has dropped."""

    def add_dropped(self, mailbox_id: int, count: int) -> None:
        """Count dropped messages."""

    # Messages.

    def append(self, plan: Mapping[int, Sequence[Frame]], now: float) -> None:
        """Add frames to mailboxes, in order; those with `deliver_at` after `now` are delayed until then.

        One frame may go to several mailboxes: it is the same object in each list.
        """

    def take(self, consumer: Consumer, limit: int, judge: Judge | None) -> list[Delivery]:
        """Lend up to `limit` waiting messages of its mailbox to a consumer, in order; `count` is 1 + those counted before.

        `judge` is asked about each (SKIP leaves it where it is, DROP removes it); None takes all.
        """

    def plain(self, mailbox_id: int) -> bool:
        """Tell whether surely no message in it expires or has a group, so that no judge is needed. May always say no."""

    def stale(self, consumer_id: int, tokens: Iterable[Token]) -> list[Token]:
        """Return the tokens that this consumer does not hold."""

    def accept(self, consumer_id: int, tokens: Sequence[Token]) -> list[Token]:
        """Remove held messages for good; return the tokens that were stale."""

    def give_back(self, consumer_id: int, tokens: Sequence[Token], count: int, due: float | None) -> list[Token]:
        """Put held messages back in their place, their delivery count grown by `count` (0 or 1); return the stale tokens.

        `due`: delayed until then; None: waiting at once.
        """

    def give_back_all(self, consumer_id: int, unless_extended_beyond: float | None) -> int:
        """Put back all that a consumer holds, counts grown by 1; return how many.

        With a time: all but those that were extended beyond it.
        """

    def extend(self, consumer_id: int, tokens: Sequence[Token], until: float) -> list[Token]:
        """Note that a held message is lent until then, even if the lease ends before; never shorten. Return the stale tokens."""

    def peek(self, mailbox_id: int, after: Any, limit: int) -> list[tuple[Any, Frame]]:
        """Return up to `limit` waiting (not delayed) messages in order, each with its place, from the first or after a place."""

    def waiting(self, mailbox_id: int) -> int:
        """Return how many are waiting or delayed."""

    def held(self, mailbox_id: int) -> int:
        """Return how many consumers hold."""

    def oldest(self, mailbox_id: int) -> float | None:
        """Return the route's timestamp of the waiting message with the lowest sequence, None if there is none."""

    def drop_oldest(self, mailbox_id: int, count: int) -> int:
        """Remove waiting messages, lowest sequence first, whatever their priority (delayed ones last); return how many went."""

    def purge(self, mailbox_id: int) -> int:
        """Remove all that are waiting or delayed; return how many."""

    # Time.

    def wake(self, now: float) -> Collection[int]:
        """Make delayed messages waiting whose time is at or before `now`; return their mailboxes."""

    def expire(self, now: float) -> Collection[int]:
        """Remove waiting messages that expire at or before `now`; return their mailboxes. Held and delayed ones stay until they wait."""

    def next_wake(self) -> float | None:
        """Return when the next delayed message is due."""

    def next_expiry(self) -> float | None:
        """Return a time not after the first expiry of a waiting message; None if none expires."""

    def next_lapse(self) -> float | None:
        """Return the earliest deadline of a connection that has not lapsed, or end of an extension that a lapsed one still holds."""

    # Groups and deduplication.

    def owner(self, mailbox_id: int, group: str) -> int | None:
        """Return the consumer that a group goes to."""

    def own(self, consumer: Consumer, groups: Collection[str]) -> None:
        """Give groups of its mailbox to a consumer."""

    def disown(self, consumer: Consumer) -> int:
        """Free all groups that a consumer has; return how many."""

    def groups(self, mailbox_id: int) -> int:
        """Return how many groups of a mailbox have an owner."""

    def forget_groups(self, mailbox_id: int) -> None:
        """Free the groups of which nothing is held."""

    def seen(self, destination: str, message_id: str, now: float) -> bool:
        """Tell whether an id is remembered for a destination at `now`."""

    def remember(self, ids: Collection[tuple[str, str]], now: float, until: float, limit: int) -> None:
        """Remember (destination, id) pairs until `until`; forget those whose time is over, and, beyond `limit` pairs, the longest known."""
