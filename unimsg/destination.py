"""Destinations: where a message goes, and topic patterns: which topics a consumer hears.

A destination is a kind and a name, written `queue:orders`, `topic:md.US.IBM`, `temporary-queue:…`, `temporary-topic:…`.
A topic's name has levels, separated by dots; in a pattern `*` stands for one level and a last `>` for one or more.
A destination may carry the type of its bodies, `Queue("orders", Order)`; the type is no part of its identity.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

from unimsg.errors import InvalidDestinationError

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

__all__ = ["Destination", "Queue", "TemporaryQueue", "TemporaryTopic", "Topic", "parse_destination"]

MAX_NAME = 1024
"""Characters that a name may have; backends may allow fewer, and say so."""


class Destination(Generic[T_co]):
    """Name a queue or a topic; immutable, equal and hashed by kind and name alone."""

    __slots__ = ("_body_type", "_name", "_text")

    kind: ClassVar[str] = ""
    _name: str
    _text: str
    _body_type: Any

    @overload
    def __init__(self: Destination[Any], name: str) -> None: ...
    @overload
    def __init__(self, name: str, body_type: type[T_co] | TypeAdapter[T_co]) -> None: ...
    def __init__(self, name: str, body_type: Any = None) -> None:
        """Take a name of 1 to 1024 characters and, if bodies have a type, a type or a pydantic TypeAdapter.

        Raises InvalidDestinationError.
        """
        if not self.kind:
            raise InvalidDestinationError("Destination is abstract: use Queue or Topic")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            shown = repr(name[:40]) if isinstance(name, str) else repr(name)
            raise InvalidDestinationError(f"a destination's name is a text of 1 to {MAX_NAME} characters, not {shown}")
        self._check(name)
        self._name = name
        self._text = f"{self.kind}:{name}"
        self._body_type = body_type

    def _check(self, name: str) -> None:
        """Refuse what this kind of destination cannot be called."""

    @property
    def name(self) -> str:
        """Return the name, without the kind."""
        return self._name

    @property
    def body_type(self) -> Any:
        """Return the type or TypeAdapter of the bodies, or None if they may be anything."""
        return self._body_type

    @property
    def is_topic(self) -> bool:
        """Tell whether every subscriber gets its own copy."""
        return self.kind.endswith("topic")

    @property
    def is_temporary(self) -> bool:
        """Tell whether this lives as long as the connection that made it."""
        return self.kind.startswith("temporary")

    @property
    def is_pattern(self) -> bool:
        """Tell whether this is for listening only."""
        return False

    @property
    def feature(self) -> str:
        """Return what a backend must be able to do for it, a name of `unimsg.capabilities.FEATURES`."""
        return "topic" if self.is_topic else "queue"

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        body = "" if self._body_type is None else f", {getattr(self._body_type, '__name__', self._body_type)}"
        return f"{type(self).__name__}({self.name!r}{body})"

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Destination) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[type[Destination[Any]], tuple[Any, ...]]:
        return type(self), (self.name,) if self._body_type is None else (self.name, self._body_type)


class Queue(Destination[T_co]):
    """Name a queue: each message goes to exactly one consumer."""

    __slots__ = ()
    kind = "queue"

    @property
    def feature(self) -> str:
        """Return `queue`, or `direct` for one whose name is an address (RFC 5122)."""
        return "direct" if self.name.startswith("xmpp:") else "queue"


class Topic(Destination[T_co]):
    """Name a topic, or a pattern of topics: each subscription gets its own copy of each message."""

    __slots__ = ()
    kind = "topic"

    def _check(self, name: str) -> None:
        levels = name.split(".")
        if "" in levels:
            raise InvalidDestinationError(f"{name!r}: a topic's levels, separated by dots, are not empty")
        if ">" in levels[:-1]:
            raise InvalidDestinationError(f"{name!r}: in a pattern `>` stands at the end only (`*` is one level)")

    @property
    def is_pattern(self) -> bool:
        """Tell whether a level is `*`, or the last one `>`."""
        return ("*" in self.name or ">" in self.name) and any(level in ("*", ">") for level in self.name.split("."))

    def matches(self, name: str) -> bool:
        """Tell whether the topic called `name` is heard by whoever listens to this one."""
        return self.name == name or (self.is_pattern and _pattern(self.name).fullmatch(name) is not None)


class TemporaryQueue(Queue[T_co]):
    """Name a queue that its connection made for itself, and that ends with it."""

    __slots__ = ()
    kind = "temporary-queue"


class TemporaryTopic(Topic[T_co]):
    """Name a topic that its connection made for itself, and that ends with it."""

    __slots__ = ()
    kind = "temporary-topic"


KINDS: dict[str, type[Destination[Any]]] = {kind.kind: kind for kind in (Queue, Topic, TemporaryQueue, TemporaryTopic)}


@lru_cache(maxsize=4096)
def parse_destination(text: str) -> Destination[Any]:
    """Build the destination that `text` (`queue:orders`) names. Raises InvalidDestinationError."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in KINDS:
        raise InvalidDestinationError(f"{text[:80]!r} names no destination: write queue:NAME, topic:NAME, temporary-queue:NAME or temporary-topic:NAME")
    return KINDS[kind](name)


@lru_cache(maxsize=4096)
def _pattern(name: str) -> re.Pattern[str]:
    levels = name.split(".")
    last = levels.pop() if levels[-1] == ">" else None
    parts = [r"[^.]+" if level == "*" else re.escape(level) for level in levels]
    if last:
        parts.append(r"[^.]+(?:\.[^.]+)*")
    return re.compile(r"\.".join(parts), re.DOTALL)
