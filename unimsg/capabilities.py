"""What a backend can do, as data that a program can read at run time.

`connection.capabilities["priority"].support` is NATIVE (the broker does it), EMULATED (unimsg does it on top, at the cost
that `note` names) or UNSUPPORTED (asking for it is refused, before anything is sent).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from unimsg.errors import UnsupportedError

__all__ = ["FEATURES", "Capabilities", "Feature", "Limits", "Support"]

FEATURES: dict[str, str] = {
    "queue": "each message to exactly one consumer",
    "topic": "each subscription gets its own copy",
    "topic.pattern": "listen to many topics at once: * and >",
    "subscription.durable": "a named subscription that collects while nobody listens",
    "subscription.shared": "several consumers share one subscription",
    "temporary": "destinations that live as long as their connection",
    "selector.topic": "selectors on topic subscriptions",
    "selector.queue": "selectors on queue consumers",
    "no_local": "do not hear one's own messages",
    "priority": "higher priorities are delivered first",
    "time_to_live": "expired messages are never delivered",
    "delivery_delay": "a message is not delivered before its time",
    "group": "messages of one group go to one consumer at a time",
    "browse": "look at a queue without taking",
    "individual": "acknowledge, release and reject single messages",
    "release_delay": "release a message for later",
    "delivery_count": "how often a message has been delivered",
    "extend": "hold a delivery longer than its lease",
    "transaction": "sends and settlements together or not at all",
    "deduplication": "a message id that was sent before is accepted once",
    "overflow": "block, drop the oldest or fail for slow live subscribers",
    "persistent": "messages survive a restart of the broker",
    "inspect": "names, depths and consumers of destinations",
    "purge": "empty a destination",
    "client_id": "one live connection per client id",
    "direct": "queues named xmpp:ADDRESS: straight to a person or a program there",
}
"""Every feature there is, and what it means."""


class Support(enum.Enum):
    """Say who does it: the broker, unimsg on top of it, or nobody."""

    NATIVE = "native"
    EMULATED = "emulated"
    UNSUPPORTED = "unsupported"


class Feature(NamedTuple):
    """How a backend supports one feature, and what it costs or why not."""

    support: Support
    note: str = ""


class Limits(NamedTuple):
    """Numbers that a program may need to know; None where there is no limit that we know of."""

    max_message_bytes: int | None = None
    priorities: int = 10
    smallest_delay: float = 0.0
    order: str = "per producer and destination"


class Capabilities(Mapping[str, Feature]):
    """A mapping of every name in `FEATURES` to its `Feature`, and `limits`."""

    def __init__(self, native: str = "", *, limits: Limits | None = None, **others: Feature) -> None:
        """Take the native features as one text of names, and the others by name (dots written as two underscores).

        What is not named is UNSUPPORTED.
        """
        self.limits = limits or Limits()
        self._features = dict.fromkeys(FEATURES, Feature(Support.UNSUPPORTED))
        named = dict.fromkeys(native.split(), Feature(Support.NATIVE))
        named |= {name.replace("__", "."): feature for name, feature in others.items()}
        for name, feature in named.items():
            if name not in FEATURES:
                raise ValueError(f"{name!r} is no feature: {', '.join(FEATURES)}")
            self._features[name] = feature

    def __getitem__(self, name: str) -> Feature:
        try:
            return self._features[name]
        except KeyError:
            raise KeyError(f"{name!r} is no feature; there are: {', '.join(FEATURES)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    def supports(self, name: str) -> bool:
        """Tell whether a feature is there, natively or emulated."""
        return self[name].support is not Support.UNSUPPORTED

    def native(self, name: str) -> bool:
        """Tell whether the broker itself does it."""
        return self[name].support is Support.NATIVE

    def require(self, name: str, what: str) -> None:
        """Raise UnsupportedError, saying `what` was asked, unless the feature is there."""
        feature = self[name]
        if feature.support is Support.UNSUPPORTED:
            reason = f": {feature.note}" if feature.note else ""
            raise UnsupportedError(f"{what}: this backend has no {name} ({FEATURES[name]}){reason}", name)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        features = {name: {"support": feature.support.value, "note": feature.note} for name, feature in self.items()}
        return {"features": features, "limits": self.limits._asdict()}

    def __repr__(self) -> str:
        return "Capabilities(" + ", ".join(f"{name}={feature.support.value}" for name, feature in self.items()) + ")"
