"""THE contract: what a backend implements. Read this file and you can write one.

A driver knows frames, not messages: a frame is bytes, which it carries untouched, and a route, which it reads. It is
batch-only; it never retries, never reconnects, and starts nothing in the background that it does not own and end in
`close`. Retrying, batching, reconnecting, selectors and expiry where the broker has none, transactions, dead letters and
acknowledge modes are written once, above (`unimsg.client`). A driver calls up in one place only: `on_lost`.

A backend is a package with an entry point in the group `unimsg.backends`, whose name is the URL's scheme and whose
object is called as `factory(url: URL, identity: Identity) -> Driver` (any class with that constructor). The constructor
judges the URL and its options (InvalidURLError) and does no I/O.

Errors: raise our classes (`unimsg.errors`) where you know better; let the broker client's own errors through and name
them in `error_of`. Cancellation may come at every await and must leave nothing half done: a frame was sent or not, a
delivery was returned or stays available.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from unimsg.capabilities import Capabilities
from unimsg.destination import Destination

__all__ = [
    "CONTENT_TYPE",
    "Delivery",
    "DestinationInfo",
    "Driver",
    "Finding",
    "Frame",
    "Identity",
    "Outcome",
    "Overflow",
    "Receiver",
    "Route",
    "Sender",
    "Settlement",
    "Source",
]

CONTENT_TYPE = "application/vnd.unimsg.stanza+xml"


class Identity(NamedTuple):
    """Who is connecting: an id that no other connection has, and the client id that the user chose, if any."""

    connection_id: str
    client_id: str | None = None


class Route(NamedTuple):
    """The facts of a frame that a broker may need; times are seconds since the epoch, UTC.

    `destination` is where it goes now; the envelope may name another one (a dead letter, a migrated message).
    `once` asks for deduplication: a broker that can drops a second frame of this message id for this destination.
    `properties` are those of the message, for selectors; `headers` are hop facts that brokers carry beside the data.
    """

    destination: Destination[Any]
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    type: str | None = None
    timestamp: float | None = None
    persistent: bool = True
    key: str | None = None
    group: str | None = None
    group_seq: int | None = None
    priority: int = 4
    expires_at: float | None = None
    deliver_at: float | None = None
    once: bool = False
    properties: Mapping[str, Any] = {}
    content_type: str = CONTENT_TYPE
    foreign: bool = False
    headers: Mapping[str, Any] = {}


class Frame(NamedTuple):
    """A message as a driver sees it: the canonical stanza (or a foreign body), and its route."""

    data: bytes
    route: Route


class Overflow(NamedTuple):
    """What becomes of a live subscription that is `limit` messages behind: block (the publisher), drop (the oldest), fail."""

    policy: str = "block"
    limit: int = 100_000


class Source(NamedTuple):
    """What to receive from. A selector is judged and given as text; drivers that declare it native apply it."""

    destination: Destination[Any]
    selector: str | None = None
    subscription: str | None = None
    durable: bool = False
    shared: bool = False
    no_local: bool = False
    overflow: Overflow = Overflow()


class Delivery(NamedTuple):
    """A frame that was received, what to settle it by, and how often it has been delivered, this time included."""

    frame: Frame
    token: Any
    count: int  # type: ignore[assignment]  # a tuple's own count() nobody needs here


class Outcome(enum.Enum):
    """What became of a delivery.

    ACCEPT: processed, never again. RELEASE: again, to anyone, after `delay`, its count grown by one.
    UNSEEN: given back without having been shown to the application; its count does not grow where the broker allows.
    """

    ACCEPT = "accept"
    RELEASE = "release"
    UNSEEN = "unseen"


class Settlement(NamedTuple):
    """One delivery settled; `delay` in seconds, for RELEASE."""

    token: Any
    outcome: Outcome = Outcome.ACCEPT
    delay: float = 0.0


class DestinationInfo(NamedTuple):
    """What is known of a destination or subscription; None is unknown, never zero."""

    destination: Destination[Any]
    depth: int | None = None
    in_flight: int | None = None
    consumers: int | None = None
    subscription: str | None = None
    oldest: float | None = None


class Finding(NamedTuple):
    """One line of a diagnosis: level `ok`, `warn` or `fail`, what was looked at, what was found, and what mends it."""

    level: str
    subject: str
    text: str
    remedy: str = ""


class Sender(Protocol):
    """Sends frames to one destination, or to any if it was made for none."""

    async def send(self, frames: Sequence[Frame]) -> None:
        """Return when the broker has confirmed all; raise PartialSendError if it took only some, else any error if none.

        Unroutable to a Queue is an error, never a confirmation; a Topic without subscribers is a success. Frames of one
        call to one destination keep their order.
        """

    async def close(self) -> None:
        """Stop sending; the broker forgets nothing that it confirmed."""


class Receiver(Protocol):
    """Receives from one source, reading at most `credit` ahead of `receive`; what `receive` has returned does not count."""

    async def receive(self, limit: int, timeout: float | None) -> list[Delivery]:
        """Return 1 to `limit` deliveries, waiting for the first; after `timeout` seconds an empty list (0: look once).

        `[]` means that the broker had nothing, not that nobody looked. Once the connection is lost: ConnectionLostError.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Any]:
        """Settle deliveries, confirmed where the broker confirms; return the tokens that were stale (no longer ours)."""

    async def extend(self, tokens: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Hold deliveries for at least `seconds` from now, where they are lent for a time; return the stale ones."""

    def dropped(self) -> int:
        """Return how many messages the overflow policy has dropped."""

    async def close(self) -> None:
        """Stop: what is unsettled goes back as if released, at once, in its place; a waiting `receive` raises ClosedError."""


class Driver(Protocol):
    """One connection to one broker."""

    capabilities: Capabilities

    async def open(self, on_lost: Callable[[BaseException], None]) -> None:
        """Connect, within the URL's time-out. Call `on_lost` once, from the event loop, if the connection breaks later.

        Raises SecurityError, InvalidClientIDError (one that is held elsewhere), ConnectionFailedError.
        After a loss the same driver may be opened again; its old senders, receivers and tokens are dead.
        """

    async def close(self) -> None:
        """Disconnect and end everything that was started; temporary destinations go. Never raises for a lost one."""

    async def sender(self, destination: Destination[Any] | None) -> Sender:
        """Return a sender; a Queue is declared if the URL does not say `create=require`."""

    async def receiver(self, source: Source, credit: int) -> Receiver:
        """Return a receiver that can receive already: whatever is sent from now on is seen.

        Raises InvalidDestinationError for a temporary destination of another connection, before any I/O.
        """

    async def commit(self, sends: Sequence[Frame], settlements: Sequence[tuple[Receiver, Sequence[Settlement]]]) -> None:
        """Do all of it or nothing; TransactionRolledBackError if a token is stale or the broker could not.

        Where the broker has no transactions (capability EMULATED), confirm the sends and then settle: a crash in
        between repeats, never loses.
        """

    async def declare(self, destination: Destination[Any]) -> None:
        """Make a destination, also a temporary one, whose name starts with our connection id."""

    async def delete(self, destination: Destination[Any]) -> None:
        """Remove a destination and what is in it. Raises InvalidDestinationError if it is not there."""

    async def purge(self, destination: Destination[Any], subscription: str | None = None) -> int:
        """Empty a queue or a subscription; return how many messages went."""

    async def unsubscribe(self, subscription: str) -> None:
        """Remove a durable subscription (of our client id, or a shared one). Raises InvalidDestinationError if unknown."""

    def browse(self, destination: Destination[Any], selector: str | None = None) -> AsyncIterator[Frame]:
        """Yield the frames that a consumer would get now, in order, taking none (an async generator)."""

    async def inspect(self) -> Sequence[DestinationInfo]:
        """Return what there is: queues, topics where known, and subscriptions."""

    def diagnose(self) -> AsyncIterator[Finding]:
        """Yield findings, from the first thing that must work to the last; callable before `open` (an async generator)."""

    def is_retryable(self, error: BaseException) -> bool:
        """Tell whether the same call may succeed on a new connection, or later."""

    def error_of(self, error: BaseException) -> BaseException:
        """Return our error for a native one; each row of the table names the sentence of the spec it rests on."""

    def native(self) -> object:
        """Return the broker client's own object: the escape hatch, documented by each backend."""
