"""From what the user said to what travels: headers stamped, rules checked, stanza encoded, route written.

One stamper a connection; it refuses, before any I/O, what the backend does not do. Source of who sets which header and
when: Jakarta Messaging 3.1 §3.4 and §7.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from unimsg import bodies, wire
from unimsg.capabilities import Capabilities
from unimsg.client.options import OPTIONS
from unimsg.destination import Destination
from unimsg.driver import Frame, Route
from unimsg.errors import InvalidDestinationError, MessageFormatError, MessageTooLargeError
from unimsg.headers import DeliveryMode, check_mode, check_priority, check_properties, check_seconds, check_text
from unimsg.message import Message, ReceivedMessage, adapter_of, findings

__all__ = ["Stamped", "Stamper", "Target", "target_of", "typed_payload"]

_NONE: dict[str, Any] = {}


class Target(NamedTuple):
    """A destination that may be sent to, judged once."""

    destination: Destination[Any]
    text: str
    model: Any


def target_of(destination: Destination[Any]) -> Target:
    """Judge where to send. Raises InvalidDestinationError."""
    if not isinstance(destination, Destination):
        raise InvalidDestinationError(f"a message is sent to a Queue or a Topic, not to {destination!r:.60}")
    if destination.is_pattern:
        raise InvalidDestinationError(f"{destination} is a pattern: patterns are for listening, not for sending")
    return Target(destination, str(destination), destination.body_type)


class Stamped(NamedTuple):
    """A frame that is ready to be sent, and the parts of the message that the sender gets back."""

    frame: Frame
    head: dict[str, Any]
    properties: dict[str, Any]
    kind: str | None
    payload: Any
    body: Any

    def message(self) -> Message[Any]:
        """Return the message as it was sent."""
        return Message.of(self.head, self.properties, self.kind, self.payload, self.body)


def typed_payload(model: Any, body: Any) -> tuple[str | None, Any]:
    """Validate a body as its destination's type and classify it. Raises MessageFormatError."""
    from pydantic import ValidationError

    adapter = adapter_of(model)
    try:
        valid = adapter.validate_python(body)
    except ValidationError as error:
        raise MessageFormatError(f"the body is no {findings(model, error)}") from None
    if valid is None or isinstance(valid, (str, bytes, dict, list, tuple, bodies.Fields)):
        return bodies.classify(valid)
    return "object", adapter.dump_json(valid, by_alias=True).decode()


class Stamper:
    """Stamp and encode what a connection sends."""

    def __init__(self, connection_id: str, capabilities: Capabilities, client_id: str | None) -> None:
        self._prefix = f"ID:{connection_id}-"
        self._count = 0
        self._capabilities = capabilities
        self._limit = capabilities.limits.max_message_bytes or 2**62
        # Where the broker cannot hide a connection's own messages from it, the envelope says whose they are.
        native = capabilities.native("no_local") or not capabilities.supports("no_local")
        self._origin = None if native else (client_id or connection_id)

    def next_id(self) -> str:
        """Return a new message id: this connection's own number after an id that no other connection has."""
        self._count += 1
        return f"{self._prefix}{self._count}"

    def __call__(self, target: Target, body: Any, options: Mapping[str, Any]) -> Stamped:
        """Return the frame of one message. Raises MessageFormatError, UnsupportedError, MessageTooLargeError."""
        if isinstance(body, Message):
            return self._again(target, body, options)
        destination, text, model = target
        kind, payload = bodies.classify(body) if model is None else typed_payload(model, body)
        now = datetime.now(UTC)
        if self._origin is None and (not options or (len(options) == 1 and "properties" in options)):
            # The common case, without asking for what was not said.
            given = options.get("properties") if options else None
            properties = check_properties(given) if given else _NONE
            message_id = self.next_id()
            head = {"destination": text, "id": message_id, "timestamp": now}
            data = wire.encode_parts(head, properties, kind, payload)
            at = now.timestamp()
            route = Route(destination, message_id, None, None, None, at, True, None, None, None, 4, None, None, False, properties)
            return self._sized(Stamped(Frame(data, route), head, properties, kind, payload, body))
        return self._stamp(target, kind, payload, body, options, now)

    def _sized(self, stamped: Stamped) -> Stamped:
        size = len(stamped.frame.data)
        if size > self._limit:
            raise MessageTooLargeError(f"the message has {size} bytes as a stanza; this backend takes at most {self._limit}", size, self._limit)
        return stamped

    def _again(self, target: Target, message: Message[Any], options: Mapping[str, Any]) -> Stamped:
        """Send a message that was built or received: what its sender chose stays, what a producer stamps is stamped anew."""
        head = message.head
        kept: dict[str, Any] = {
            option: head[name]
            for option, name in (
                ("correlation_id", "correlation-id"),
                ("type", "type"),
                ("priority", "priority"),
                ("group", "group-id"),
                ("group_seq", "group-seq"),
            )
            if name in head
        }
        if "delivery-mode" in head:
            kept["delivery_mode"] = DeliveryMode.NON_PERSISTENT
        if "reply-to" in head:
            kept["reply_to"] = message.reply_to
        if message.properties:
            kept["properties"] = message.properties
        times: dict[str, datetime] = {}
        if not isinstance(message, ReceivedMessage):
            if "id" in head:
                kept["message_id"] = head["id"]
            times = {name: head[name] for name in ("delivery-time", "expiration") if name in head}
        kept |= options
        model = target.model
        kind, payload = (message.body_kind, message.payload) if model is None else typed_payload(model, message.body)
        received = isinstance(message, ReceivedMessage)
        return self._stamp(target, kind, payload, None if received else message.body, kept, datetime.now(UTC), times, foreign_names=received)

    def _stamp(
        self,
        target: Target,
        kind: str | None,
        payload: Any,
        body: Any,
        options: Mapping[str, Any],
        now: datetime,
        times: Mapping[str, datetime] = _NONE,
        foreign_names: bool = False,
    ) -> Stamped:
        get = options.get
        head: dict[str, Any] = {}
        correlation_id = get("correlation_id")
        if correlation_id is not None:
            head["correlation-id"] = check_text("correlation_id", correlation_id)
        persistent = True
        if (mode := get("delivery_mode")) is not None and check_mode(mode) is DeliveryMode.NON_PERSISTENT:
            head["delivery-mode"] = "non-persistent"
            persistent = False
        deliver_at = times.get("delivery-time")
        if (delay := get("delivery_delay")) is not None and (seconds := check_seconds("delivery_delay", delay)):
            deliver_at = now + timedelta(seconds=seconds)
        if deliver_at is not None:
            self._capabilities.require("delivery_delay", "delivery_delay=")
            head["delivery-time"] = deliver_at
        head["destination"] = target.text
        expires_at = times.get("expiration")
        if (lifetime := get("time_to_live")) is not None and (seconds := check_seconds("time_to_live", lifetime)):
            expires_at = now + timedelta(seconds=seconds)
        if expires_at is not None:
            self._capabilities.require("time_to_live", "time_to_live=")
            head["expiration"] = expires_at
        group = get("group")
        if group is not None:
            self._capabilities.require("group", "group=")
            head["group-id"] = check_text("group", group)
            if (seq := get("group_seq")) is not None:
                head["group-seq"] = _group_seq(seq)
        own_id = get("message_id")
        if own_id is None:
            message_id = self.next_id()
        else:
            message_id = check_text("message_id", own_id)
            if not message_id.startswith("ID:"):
                raise MessageFormatError(f"message_id starts with 'ID:' (JMS), as in 'ID:{message_id[:40]}'")
        head["id"] = message_id
        if self._origin is not None:
            head["origin"] = self._origin
        priority = 4
        if (wanted := get("priority")) is not None and (priority := check_priority(wanted)) != 4:
            self._capabilities.require("priority", "priority=")
            head["priority"] = priority
        reply_to = get("reply_to")
        if reply_to is not None:
            if not isinstance(reply_to, Destination) or reply_to.is_pattern:
                raise InvalidDestinationError(f"reply_to is a Queue or a Topic, not {reply_to!r:.60}")
            head["reply-to"] = str(reply_to)
        head["timestamp"] = now
        kind_of_message = get("type")
        if kind_of_message is not None:
            head["type"] = check_text("type", kind_of_message)
        given = get("properties")
        # What was received may carry names that JMS forbids to senders (foreign headers): they were legal on the wire.
        properties = _NONE if not given else dict(given) if foreign_names else check_properties(given)
        if not options.keys() <= OPTIONS:
            unknown = ", ".join(sorted(options.keys() - OPTIONS))
            raise TypeError(f"there is no option {unknown}; there are: {', '.join(sorted(OPTIONS))}")
        key = get("key")
        route = Route(
            target.destination,
            message_id,
            correlation_id,
            head.get("reply-to"),
            kind_of_message,
            now.timestamp(),
            persistent,
            None if key is None else check_text("key", key),
            group,
            head.get("group-seq"),
            priority,
            None if expires_at is None else expires_at.timestamp(),
            None if deliver_at is None else deliver_at.timestamp(),
            own_id is not None,
            properties,
        )
        data = wire.encode_parts(head, properties, kind, payload)
        return self._sized(Stamped(Frame(data, route), head, properties, kind, payload, body))


def _group_seq(seq: object) -> int:
    if type(seq) is not int or not 1 <= seq < 2**31:
        raise MessageFormatError(f"group_seq is an int from 1, not {seq!r:.40}")
    return seq
