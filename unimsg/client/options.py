"""What may be said of a single send, and of the way failures are answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from unimsg.destination import Destination, Queue
from unimsg.headers import DeliveryMode

__all__ = ["OPTIONS", "Backoff", "ConsumerOptions", "RedeliveryPolicy", "SendOptions", "check_policy", "consumer_options"]


class SendOptions(TypedDict, total=False):
    """The keyword arguments of `send`, `submit`, `request` and `reply`; those of `producer()` are their defaults."""

    to: Destination[Any]
    """The destination, where the producer is bound to none."""
    properties: Mapping[str, Any]
    """Typed properties under JMS names; selectors see them."""
    type: str
    """The application's name for this kind of message (JMSType)."""
    correlation_id: str
    """What this belongs to or answers (JMSCorrelationID)."""
    reply_to: Destination[Any]
    """Where an answer should go (JMSReplyTo)."""
    priority: int
    """0 to 9, default 4 (JMSPriority)."""
    time_to_live: float
    """Seconds until it expires; 0 is never (JMSExpiration)."""
    delivery_delay: float
    """Seconds before which it is not delivered (JMSDeliveryTime)."""
    delivery_mode: DeliveryMode | str
    """PERSISTENT (default) or NON_PERSISTENT (JMSDeliveryMode)."""
    group: str
    """Messages of one group go to one consumer at a time (JMSXGroupID)."""
    group_seq: int
    """The place in the group, from 1 (JMSXGroupSeq)."""
    key: str
    """The key by which a partitioned broker keeps order."""
    message_id: str
    """Your own id, for sending again after an unknown outcome: a broker that can, takes it once."""


OPTIONS = frozenset(SendOptions.__annotations__)


class ConsumerOptions(TypedDict, total=False):
    """The keyword arguments of `consumer`, on a connection and on a session."""

    selector: str | None
    """A JMS selector: only messages for which it is true."""
    subscription: str | None
    """The name of a durable or shared subscription (JMS 3.1 §8.3)."""
    durable: bool
    """The subscription collects while nobody listens, until `unsubscribe`."""
    shared: bool
    """Several consumers share the subscription: each message goes to one of them."""
    no_local: bool
    """Do not hear what this connection publishes."""
    prefetch: int
    """Messages read ahead, 1 to 65535; default 100."""
    redelivery: RedeliveryPolicy | None
    """How often a message is tried, and where it goes in the end; default: the connection's."""
    overflow: str
    """What becomes of a live subscription that is `backlog` messages behind: block (default), drop or fail."""
    backlog: int
    """Messages, default 100,000."""


CONSUMER_DEFAULTS = ConsumerOptions(
    selector=None, subscription=None, durable=False, shared=False, no_local=False, prefetch=100, redelivery=None, overflow="block", backlog=100_000
)


def consumer_options(given: ConsumerOptions) -> ConsumerOptions:
    """Return all options of a consumer, given and default. Raises TypeError for one that there is not."""
    if not given.keys() <= CONSUMER_DEFAULTS.keys():
        unknown = ", ".join(sorted(given.keys() - CONSUMER_DEFAULTS.keys()))
        raise TypeError(f"a consumer has no option {unknown}; there are: {', '.join(CONSUMER_DEFAULTS)}")
    return {**CONSUMER_DEFAULTS, **given}


class RedeliveryPolicy(NamedTuple):
    """Say how often a message is tried, how long it rests in between, and where it goes in the end.

    `max_deliveries` None is without end. The n-th release rests `delay * factor ** (n - 1)` seconds, at most
    `max_delay`, where the backend can delay a release. `dead_letter` None is the queue `dead.NAME`.
    """

    max_deliveries: int | None = None
    dead_letter: Queue[Any] | None = None
    delay: float = 0.0
    factor: float = 2.0
    max_delay: float = 300.0

    def rest(self, count: int) -> float:
        """Return the seconds to rest after the `count`-th delivery."""
        return min(self.max_delay, self.delay * self.factor ** (count - 1)) if self.delay else 0.0

    def spent(self, count: int) -> bool:
        """Tell whether a message that was delivered `count` times has had its chances."""
        return self.max_deliveries is not None and count >= self.max_deliveries


def check_policy(policy: RedeliveryPolicy) -> RedeliveryPolicy:
    """Return a policy that makes sense. Raises ValueError."""
    most = policy.max_deliveries
    if most is not None and (type(most) is not int or most < 1):
        raise ValueError(f"max_deliveries is an int from 1, or None for no end, not {most!r:.40}")
    if policy.dead_letter is not None and (not isinstance(policy.dead_letter, Queue) or policy.dead_letter.is_temporary):
        raise ValueError(f"dead_letter is a Queue, not {policy.dead_letter!r:.60}")
    if policy.delay < 0 or policy.factor < 1 or policy.max_delay < 0:
        raise ValueError(f"a policy rests delay >= 0 seconds, growing by factor >= 1, at most max_delay >= 0 seconds: {policy}")
    return policy


class Backoff(NamedTuple):
    """Say how reconnecting is paced: seconds before the first attempt, growth, the most, and for how long (None: for ever)."""

    first: float = 0.05
    factor: float = 2.0
    most: float = 10.0
    give_up: float | None = None
