"""A message as a JSON record, and as a few lines for people."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from unimsg import Fields, Message, ReceivedMessage
from unimsg.cli.screen import Part
from unimsg.errors import MessageFormatError
from unimsg.message import plain_body

__all__ = ["plain", "record_of", "text_of"]


def plain(value: Any) -> Any:
    """Return a value as JSON has it: decimals and times as text, bytes as base64, fields as name and value pairs."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Fields):
        return [{"name": field.name, "value": plain(field.value)} | ({} if field.fid is None else {"fid": field.fid}) for field in value]
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value]


def record_of(message: Message[Any]) -> dict[str, Any]:
    """Return a message as a record: the headers that are set, properties, and the body or why it cannot be read."""
    record: dict[str, Any] = {name.replace("-", "_"): plain(value) for name, value in message.head.items()}
    if isinstance(message, ReceivedMessage) and message.redelivered:
        record["delivery_count"] = message.delivery_count
    try:
        if message.properties:
            record["properties"] = plain(message.properties)
        record["body_kind"] = message.body_kind
        record["body"] = plain(plain_body(message.body_kind, message.payload))
    except MessageFormatError as error:
        record["error"] = str(error)
    return record


SHOWN_ELSEWHERE = ("destination", "id", "timestamp", "type")


def text_of(message: Message[Any]) -> list[list[Part]]:
    """Return a message as lines: when, where and what; other headers; properties; the body."""
    record = record_of(message)
    head: list[Part] = [((message.timestamp.astimezone().strftime("%H:%M:%S.%f")[:-3] if message.timestamp else "--:--:--"), "dim"), "  "]
    head.append((record.get("destination", "?"), "bold cyan"))
    if message.type is not None:
        head.append((f"  {message.type}", "magenta"))
    if "delivery_count" in record:
        head.append((f"  delivery {record['delivery_count']}", "yellow"))
    head.append((f"  {message.message_id or ''}", "dim"))
    lines = [head]
    others = {name: value for name, value in record.items() if name.replace("_", "-") in message.head and name not in SHOWN_ELSEWHERE}
    if others:
        lines.append(_pairs(others, "dim"))
    if record.get("properties"):
        lines.append(_pairs(record["properties"], "green"))
    if "error" in record:
        lines.append(["  ", (f"unreadable: {record['error']}", "red")])
    elif message.body_kind == "fields":
        lines.append(_pairs({field.name: plain(field.value) for field in message.payload}, "bold"))
    elif message.body_kind is not None:
        lines.extend([f"  {line}"] for line in _body(message).split("\n"))
    return lines


def _body(message: Message[Any]) -> str:
    import json

    if message.body_kind == "text" or message.body_kind == "object":
        return str(message.payload)
    if message.body_kind == "bytes":
        shown = message.payload[:48].hex(" ")
        return f"{len(message.payload)} bytes: {shown}{' …' if len(message.payload) > 48 else ''}"
    return json.dumps(plain(plain_body(message.body_kind, message.payload)), ensure_ascii=False)


def _pairs(values: Mapping[str, Any], style: str) -> list[Part]:
    line: list[Part] = []
    for name, value in values.items():
        line += ["  ", (f"{name}=", "dim"), (str(value), style)]
    return line
