"""Pydantic at the edge: the model that judges the arguments of `Message(...)`, and `Message` as a pydantic type.

Imported when the first message is built by hand, so that `import unimsg` stays quick.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import CoreSchema, core_schema

from unimsg.destination import Destination, parse_destination
from unimsg.errors import MessageFormatError, UnimsgError
from unimsg.headers import DeliveryMode, check_mode, check_priority, check_properties, check_text, check_time

__all__ = ["head_of", "message_schema"]


def _text(what: str) -> Callable[[str], str]:
    return lambda value: check_text(what, value)


def _time(what: str) -> Callable[[datetime], datetime]:
    return lambda value: check_time(what, value)


def _destination(value: Any) -> Any:
    return parse_destination(value) if isinstance(value, str) else value


Where = Annotated[Destination[Any], BeforeValidator(_destination)]


class Envelope(BaseModel):
    """The headers and properties of a message that somebody builds."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    properties: Annotated[dict[str, Any], AfterValidator(check_properties)] = {}
    message_id: Annotated[str, AfterValidator(_text("message_id"))] | None = None
    correlation_id: Annotated[str, AfterValidator(_text("correlation_id"))] | None = None
    type: Annotated[str, AfterValidator(_text("type"))] | None = None
    destination: Where | None = None
    reply_to: Where | None = None
    priority: Annotated[int, BeforeValidator(check_priority)] = 4
    delivery_mode: Annotated[DeliveryMode, BeforeValidator(check_mode)] = DeliveryMode.PERSISTENT
    timestamp: Annotated[datetime, AfterValidator(_time("timestamp"))] | None = None
    expiration: Annotated[datetime, AfterValidator(_time("expiration"))] | None = None
    delivery_time: Annotated[datetime, AfterValidator(_time("delivery_time"))] | None = None
    group_id: Annotated[str, AfterValidator(_text("group_id"))] | None = None
    group_seq: int | None = None


NAMES = [(field.replace("message_id", "id").replace("_", "-"), field) for field in Envelope.model_fields if field != "properties"]
NAMES.sort()


def head_of(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (head, properties) of the arguments of `Message(...)`. Raises MessageFormatError."""
    given = {name: value for name, value in arguments.items() if name in Envelope.model_fields and value is not None}
    try:
        envelope = Envelope(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise MessageFormatError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}") from None
    head: dict[str, Any] = {}
    for wire, field in NAMES:
        value = getattr(envelope, field)
        if value is None or (field == "priority" and value == 4):
            continue
        if field == "delivery_mode":
            if value is DeliveryMode.NON_PERSISTENT:
                head[wire] = "non-persistent"
            continue
        head[wire] = str(value) if isinstance(value, Destination) else value
    return head, envelope.properties


def message_schema(cls: Any) -> CoreSchema:
    """Let a pydantic model hold a Message: an instance, or a dict of the arguments of `Message(...)`."""

    def build(value: Any) -> Any:
        if isinstance(value, dict):
            try:
                return cls(**value)
            except (UnimsgError, TypeError) as error:
                raise ValueError(str(error)) from error
        return value

    def dump(message: Any) -> dict[str, Any]:
        found = {field: message.head[wire] for wire, field in NAMES if wire in message.head}
        return {"body": message.body, "properties": dict(message.properties), **found}

    return core_schema.no_info_before_validator_function(
        build, core_schema.is_instance_schema(cls), serialization=core_schema.plain_serializer_function_ser_schema(dump)
    )
