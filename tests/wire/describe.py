"""A message as plain JSON, and back: what the vectors' descriptions hold (tests/vectors/README.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from unimsg.bodies import Field, Fields
from unimsg.message import Message
from unimsg.values import Vector
from unimsg.wire.lexical import READERS, WRITERS, read_time, time_text
from unimsg.wire.values import KINDS, TYPE_NAMES


def describe(message: Message[Any]) -> dict[str, Any]:
    """Return headers, properties and body with their types; numbers and times as the text that writers write."""
    head = {name: time_text(value) if isinstance(value, datetime) else value for name, value in message.head.items()}
    found: dict[str, Any] = {"headers": head, "properties": [{"name": name, **_value(value)} for name, value in message.properties.items()]}
    kind, payload = message.body_kind, message.payload
    if kind is not None:
        found["body"] = {"type": kind, "value": _body(kind, payload)}
    return found


def _body(kind: str, payload: Any) -> Any:
    if kind == "bytes":
        return payload.hex()
    if kind == "map":
        return [{"name": name, **_value(value)} for name, value in payload.items()]
    if kind == "stream":
        return [_value(value) for value in payload]
    return _fields(payload) if kind == "fields" else payload


def _fields(fields: Fields) -> list[dict[str, Any]]:
    return [{"name": name, **({} if fid is None else {"fid": fid}), **_value(value)} for name, value, fid in fields]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, Fields):
        return {"type": "fields", "value": _fields(value)}
    if isinstance(value, Vector):
        return {"type": "vector", "of": value.of, "value": [_plain(value.of, item) for item in value]}
    name = TYPE_NAMES[type(value)]
    return {"type": name, "value": _plain(name, value)}


def _plain(name: str, value: Any) -> Any:
    if name == "null":
        return None
    if name == "bytes":
        return value.hex()
    return str(value) if name in ("string", "char") else WRITERS[name](value)


def rebuild(description: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], str | None, Any]:
    """Return what `wire.encode_parts` takes, of a description."""
    head = {name: read_time(value) if name in ("timestamp", "expiration", "delivery-time") else value for name, value in description["headers"].items()}
    properties = {row["name"]: _built(row) for row in description["properties"]}
    body = description.get("body")
    if body is None:
        return head, properties, None, None
    kind, value = body["type"], body["value"]
    if kind == "bytes":
        return head, properties, kind, bytes.fromhex(value)
    if kind == "map":
        return head, properties, kind, {row["name"]: _built(row) for row in value}
    if kind == "stream":
        return head, properties, kind, [_built(row) for row in value]
    return head, properties, kind, _built({"type": "fields", "value": value}) if kind == "fields" else value


def _built(row: dict[str, Any]) -> Any:
    name, value = row["type"], row["value"]
    if name == "fields":
        return Fields([Field(inner["name"], _built(inner), inner.get("fid")) for inner in value])
    if name == "vector":
        return Vector([_built({"type": row["of"], "value": item}) for item in value], of=row["of"])
    if name == "null":
        return None
    if name == "bytes":
        return bytes.fromhex(value)
    return KINDS[name](value) if name in ("string", "char") else READERS[name](value)
