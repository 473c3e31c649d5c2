"""Any message to canonical bytes, and canonical bytes to any message, without code made for its shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unimsg.bodies import Fields
from unimsg.errors import MessageFormatError, MessageTooLargeError
from unimsg.wire.escape import base64_text, plain_text, text_base64
from unimsg.wire.head import write_head
from unimsg.wire.limits import MAX_STANZA, PREFIX, SUFFIX
from unimsg.wire.values import Budget, refuse, write_fields, write_rows, write_value

__all__ = ["write"]


def write(head: Mapping[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any) -> bytes:
    """Return the canonical bytes of a message. Raises MessageFormatError with the place of what cannot be carried."""
    budget = Budget()
    rows = write_rows("property", properties, budget)
    if rows is None:
        rows = "".join([write_value("property", name, value, f"property {name!r:.60}", budget, 3) for name, value in properties.items()])
    return bounded(f"{PREFIX}{write_head(head)}>{rows}{_write_body(kind, payload, budget)}{SUFFIX}".encode())


def bounded(data: bytes) -> bytes:
    """Return a stanza that is not too large. Raises MessageTooLargeError."""
    if len(data) > MAX_STANZA:
        raise MessageTooLargeError(f"the message has {len(data)} bytes as a stanza; the wire format has room for {MAX_STANZA}", len(data), MAX_STANZA)
    return data


def _write_body(kind: str | None, payload: Any, budget: Budget) -> str:
    if kind is None:
        return ""
    budget.spend("body")
    if kind in ("text", "object"):
        if not isinstance(payload, str):
            refuse("body", payload, f"a {kind} body is a text")
        text = plain_text(payload)
        return f'<body type="{kind}">{text}</body>' if text is not None else f'<body encoding="base64" type="{kind}">{text_base64(payload)}</body>'
    if kind == "bytes":
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            refuse("body", payload, "a bytes body is bytes")
        inner = base64_text(bytes(payload))
    elif kind == "map" and isinstance(payload, Mapping):
        rows = write_rows("entry", payload, budget)
        inner = "".join([write_value("entry", name, value, f"body[{name!r:.60}]", budget, 4) for name, value in payload.items()]) if rows is None else rows
    elif kind == "stream" and isinstance(payload, (list, tuple)):
        inner = "".join([write_value("item", None, value, f"body[{number}]", budget, 4) for number, value in enumerate(payload)])
    elif kind == "fields" and isinstance(payload, Fields):
        inner = write_fields(payload, "body", budget, 4)
    else:
        raise MessageFormatError(f"a body of kind {kind!r:.40} cannot hold a {type(payload).__name__}")
    return f'<body type="{kind}">{inner}</body>'
