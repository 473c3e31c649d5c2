"""The message: headers, typed properties and a body, immutable.

`Message` is what a user builds (pydantic judges the arguments); `ReceivedMessage` is what the codec has judged and a
consumer hands out: the same interface over lazily read contents, plus the facts of its delivery (`redelivered`,
`delivery_count`) and the means to settle it. Source of the headers: Jakarta Messaging 3.1 §3.4.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, overload

from unimsg import bodies
from unimsg.destination import Destination, parse_destination
from unimsg.errors import IllegalStateError, MessageFormatError
from unimsg.headers import DeliveryMode

if TYPE_CHECKING:
    from types import TracebackType

    from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
    from pydantic_core import CoreSchema
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M")

__all__ = ["Message", "ReceivedMessage"]

_NO_PROPERTIES: Mapping[str, Any] = MappingProxyType({})


class Message(Generic[T_co]):
    """A message: a body, properties and headers; immutable (nothing public has a setter), equal by content."""

    __slots__ = ("_body", "_head", "_kind", "_payload", "_properties")

    _head: dict[str, Any]
    _properties: Mapping[str, Any] | None
    _kind: str | None
    _payload: Any
    _body: Any

    def __init__(
        self,
        body: T_co | None = None,
        *,
        properties: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        correlation_id: str | None = None,
        type: str | None = None,
        destination: Destination[Any] | None = None,
        reply_to: Destination[Any] | None = None,
        priority: int = 4,
        delivery_mode: DeliveryMode = DeliveryMode.PERSISTENT,
        timestamp: datetime | None = None,
        expiration: datetime | None = None,
        delivery_time: datetime | None = None,
        group_id: str | None = None,
        group_seq: int | None = None,
    ) -> None:
        """Build a message; the producer stamps id, destination and timestamp when it sends it.

        Times are aware datetimes. Raises MessageFormatError with the name of the argument that cannot be.
        """
        from unimsg.envelope import head_of

        head, checked = head_of(locals())
        self._fill(head, checked, *bodies.classify(body), body)

    def _fill(self, head: dict[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any, body: Any) -> None:
        self._head = head
        self._properties = properties
        self._kind = kind
        self._payload = payload
        self._body = body

    @classmethod
    def of(cls, head: dict[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any, body: Any) -> Message[Any]:
        """Build a message of parts that were checked before (for the client and the codec)."""
        message = cls.__new__(cls)
        message._fill(head, properties, kind, payload, body)
        return message

    # Headers.

    @property
    def head(self) -> Mapping[str, Any]:
        """Return the headers that are set, by their names on the wire, in canonical order."""
        return self._head

    @property
    def message_id(self) -> str | None:
        """Return the id, `ID:…`, or None before it is sent (JMSMessageID)."""
        return self._head.get("id")

    @property
    def correlation_id(self) -> str | None:
        """Return the id of what this belongs to or answers (JMSCorrelationID)."""
        return self._head.get("correlation-id")

    @property
    def type(self) -> str | None:
        """Return the application's name for this kind of message (JMSType)."""
        return self._head.get("type")

    @property
    def destination(self) -> Destination[Any] | None:
        """Return where it was sent to (JMSDestination)."""
        text = self._head.get("destination")
        return None if text is None else parse_destination(text)

    @property
    def reply_to(self) -> Destination[Any] | None:
        """Return where an answer should go (JMSReplyTo)."""
        text = self._head.get("reply-to")
        return None if text is None else parse_destination(text)

    @property
    def priority(self) -> int:
        """Return the priority, 0 to 9 (JMSPriority)."""
        priority: int = self._head.get("priority", 4)
        return priority

    @property
    def delivery_mode(self) -> DeliveryMode:
        """Return whether it survives the broker (JMSDeliveryMode)."""
        return DeliveryMode.NON_PERSISTENT if self._head.get("delivery-mode") == "non-persistent" else DeliveryMode.PERSISTENT

    @property
    def timestamp(self) -> datetime | None:
        """Return when it was handed over for sending, in UTC (JMSTimestamp)."""
        return self._head.get("timestamp")

    @property
    def expiration(self) -> datetime | None:
        """Return when it ends, in UTC, or None for never (JMSExpiration)."""
        return self._head.get("expiration")

    @property
    def delivery_time(self) -> datetime | None:
        """Return before when it may not be delivered, in UTC, or None (JMSDeliveryTime)."""
        return self._head.get("delivery-time")

    @property
    def group_id(self) -> str | None:
        """Return the group it belongs to (JMSXGroupID)."""
        return self._head.get("group-id")

    @property
    def group_seq(self) -> int | None:
        """Return its place in the group, from 1 (JMSXGroupSeq)."""
        return self._head.get("group-seq")

    @property
    def origin(self) -> str | None:
        """Return the connection that sent it, where the backend needs this for no_local."""
        return self._head.get("origin")

    # Contents.

    @property
    def properties(self) -> Mapping[str, Any]:
        """Return the properties, read-only, in the order they were set."""
        properties = self._properties
        return MappingProxyType(properties) if type(properties) is dict else properties  # type: ignore[return-value]

    @property
    def body_kind(self) -> str | None:
        """Return `text`, `bytes`, `map`, `stream`, `object`, `fields`, or None where there is no body."""
        return self._kind

    @property
    def payload(self) -> Any:
        """Return the body as the codec takes and gives it (the table in `unimsg.bodies`)."""
        return self._payload

    @property
    def body(self) -> T_co:
        """Return the body. Raises MessageFormatError where it is not what its destination's type says."""
        body: T_co = self._body
        return body

    @overload
    def body_as(self, model: builtins.type[M]) -> M: ...
    @overload
    def body_as(self, model: TypeAdapter[M]) -> M: ...
    def body_as(self, model: Any) -> Any:
        """Return the body as a pydantic model or any type that pydantic can validate. Raises MessageFormatError."""
        return build_body(model, self.body_kind, self.payload)

    def __eq__(self, other: object) -> bool:
        """Compare headers, properties (in any order) and the body as it travels."""
        if not isinstance(other, Message):
            return NotImplemented
        return (self.head, dict(self.properties), self.body_kind, self.payload) == (other.head, dict(other.properties), other.body_kind, other.payload)

    def __hash__(self) -> int:
        return hash((self.message_id, self.body_kind))

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in self._head.items()]
        try:
            shown += [f"properties={dict(self.properties)!r}"] if self.properties else []
            text = repr(self.payload)
            shown.append(f"{self.body_kind} body={text if len(text) <= 80 else text[:77] + '...'}")
        except MessageFormatError as error:
            shown.append(f"unreadable: {error}")
        return f"<{type(self).__name__} {' '.join(shown)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (Message, dict(self._head), dict(self.properties), self.body_kind, self.payload)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from unimsg.envelope import message_schema

        return message_schema(cls)


class Reader(Protocol):
    """What a codec leaves in a received message, to read the rest on first use; shared by messages of one shape."""

    def properties(self, state: Any) -> Mapping[str, Any]:
        """Return the typed properties."""

    def body(self, state: Any) -> tuple[str | None, Any]:
        """Return the kind and the payload of the body."""

    def canonical(self, state: Any) -> bytes:
        """Return the canonical bytes of the whole message, values in the texts that they came in."""


class Settler(Protocol):
    """What a consumer leaves in a message that it hands out, to settle it by."""

    async def acknowledge(self, message: ReceivedMessage[Any]) -> None: ...
    async def release(self, message: ReceivedMessage[Any], delay: float) -> None: ...
    async def reject(self, message: ReceivedMessage[Any], reason: str) -> None: ...
    async def extend(self, message: ReceivedMessage[Any], seconds: float) -> None: ...


class ReceivedMessage(Message[T_co]):
    """A message that came from a broker or out of bytes: read lazily, and settled by its own methods."""

    __slots__ = ("_body_type", "_count", "_delivery", "_raw", "_read", "_reader", "_settler", "_state")

    _reader: Reader
    _state: Any
    _raw: bytes | None
    _read: int
    _count: int
    _delivery: Any
    _settler: Settler | None
    _body_type: Any

    def __init__(self, head: dict[str, Any], reader: Reader, state: Any, raw: bytes | None = None) -> None:
        """Take the headers, decoded, and what reads the rest on first use (for codecs)."""
        self._head = head
        self._reader = reader
        self._state = state
        self._raw = raw
        self._properties = None
        self._read = 0
        self._count = 1
        self._settler = None
        self._body_type = None

    def delivered(self, count: int, settler: Settler, delivery: Any, body_type: Any) -> Self:
        """Add the facts of a delivery (for the client)."""
        self._count = count
        self._settler = settler
        self._delivery = delivery
        self._body_type = body_type
        return self

    def seen_as(self, body_type: Any) -> Self:
        """Give it the body type of a destination (for the browser)."""
        self._body_type = body_type
        return self

    @property
    def raw(self) -> bytes | None:
        """Return the canonical bytes that it came as, or None if it must be encoded anew."""
        return self._raw

    def keep(self, raw: bytes) -> bytes:
        """Remember its canonical bytes, and return them (for codecs)."""
        self._raw = raw
        return raw

    @property
    def delivery_count(self) -> int:
        """Return how often it has been delivered, this time included (JMSXDeliveryCount); exact only where the backend says so."""
        return self._count

    @property
    def delivery(self) -> Any:
        """Return what the consumer that handed it out knows it by (for the client)."""
        return self._delivery

    @property
    def wire(self) -> tuple[Reader, Any]:
        """Return what the codec left here, so that it can encode the same values again."""
        return self._reader, self._state

    @property
    def redelivered(self) -> bool:
        """Tell whether it was probably delivered before (JMSRedelivered)."""
        return self._count > 1

    @property
    def properties(self) -> Mapping[str, Any]:
        """Return the properties, read-only. Raises MessageFormatError where a value is of an unknown type."""
        if self._properties is None:
            self._properties = MappingProxyType(self._reader.properties(self._state))
        return self._properties

    def _load(self) -> None:
        kind, payload = self._reader.body(self._state)
        self._kind = kind
        self._payload = payload
        self._read = 1

    @property
    def body_kind(self) -> str | None:
        """Return `text`, `bytes`, `map`, `stream`, `object`, `fields`, or None where there is no body."""
        if not self._read:
            self._load()
        return self._kind

    @property
    def payload(self) -> Any:
        """Return the body as it travelled (the table in `unimsg.bodies`)."""
        if not self._read:
            self._load()
        return self._payload

    @property
    def body(self) -> T_co:
        """Return the body, built as the destination's type where it has one. Raises MessageFormatError."""
        if self._read != 2:
            if not self._read:
                self._kind, self._payload = self._reader.body(self._state)
                self._read = 1
            kind = self._kind
            if self._body_type is not None:
                built = build_body(self._body_type, kind, self._payload)
            else:
                built = self._payload if kind == "text" else plain_body(kind, self._payload)
            self._body = built
            self._read = 2
        return self._body  # type: ignore[no-any-return]

    def _owner(self) -> Settler:
        if self._settler is None:
            raise IllegalStateError("this message was decoded, not received: there is nothing to settle")
        return self._settler

    async def acknowledge(self) -> None:
        """Settle it as processed; in CLIENT mode, with all that its session has delivered (JMS 3.1 §6.2.10)."""
        await self._owner().acknowledge(self)

    async def release(self, *, delay: float = 0.0) -> None:
        """Give it back for redelivery, after `delay` seconds. Raises IllegalStateError outside INDIVIDUAL mode."""
        await self._owner().release(self, delay)

    async def reject(self, reason: str = "") -> None:
        """Send it to the dead-letter queue with the reason. Raises IllegalStateError outside INDIVIDUAL mode."""
        await self._owner().reject(self, reason)

    async def extend(self, seconds: float) -> None:
        """Hold it for at least `seconds` more, where the backend lends messages for a time (a lease)."""
        await self._owner().extend(self, seconds)

    async def __aenter__(self) -> Self:
        self._owner()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            await self.acknowledge()
            return
        # In the other modes the session, or the loop that the exception leaves, gives it back.
        with contextlib.suppress(IllegalStateError):
            await self.release()


def plain_body(kind: str | None, payload: Any) -> Any:
    """Return a payload as the plain Python value that it was, or would have been, made of."""
    if kind == "object":
        return bodies.load_json(payload)
    if kind == "map":
        return dict(payload)
    return list(payload) if kind == "stream" else payload


@lru_cache(maxsize=1024)
def _cached_adapter(model: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(model)


def adapter_of(model: Any) -> TypeAdapter[Any]:
    """Return the TypeAdapter of a type (kept), or the one given."""
    if hasattr(model, "validate_python"):
        return model  # type: ignore[no-any-return]
    return _cached_adapter(model)


def build_body(model: Any, kind: str | None, payload: Any) -> Any:
    """Validate a payload as `model`. Raises MessageFormatError with the first few of pydantic's findings."""
    from pydantic import ValidationError

    try:
        adapter = adapter_of(model)
        if kind == "object":
            return adapter.validate_json(payload)
        return adapter.validate_python(payload.to_dict() if isinstance(payload, bodies.Fields) else payload)
    except ValidationError as error:
        raise MessageFormatError(f"a {kind or 'missing'} body is no {findings(model, error)}") from None


def readable(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that can be read: one of an unknown type travels on, and is not seen."""
    found = {}
    for name in properties:
        with contextlib.suppress(MessageFormatError):
            found[name] = properties[name]
    return found


def findings(model: Any, error: ValidationError) -> str:
    """Return the name of a model and the first three things that pydantic found, without the values (they may be secret)."""
    first = error.errors(include_url=False, include_input=False)[:3]
    return f"{getattr(model, '__name__', model)}: " + "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in first)


def _rebuild(cls: type[Message[Any]], head: dict[str, Any], properties: dict[str, Any], kind: str | None, payload: Any) -> Message[Any]:
    return cls.of(head, properties, kind, payload, plain_body(kind, payload))
