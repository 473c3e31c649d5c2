"""The headers: attributes of `<envelope>`, both ways; absent means the default, and the default is never written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from unimsg.destination import parse_destination
from unimsg.errors import InvalidDestinationError, MessageFormatError, WireFormatError
from unimsg.headers import HEADERS
from unimsg.wire.escape import attribute, read_attribute
from unimsg.wire.lexical import INTEGERS, READERS, read_integer, read_time, time_text
from unimsg.wire.limits import MAX_TEXT

__all__ = ["READ", "WRITE", "known_place", "places", "read_head", "write_head"]

KNOWN = frozenset({*HEADERS, *READERS, *INTEGERS, "vector", "text", "map", "stream", "object", "fields", "fid", "of", "encoding"})
"""What `must-understand` may name for a reader of this version."""


places: set[str] = set()
"""Texts of destinations that make sense, among them those met of late."""


def known_place(text: str) -> str:
    """Return the text of a destination, quickly where it was met before. Raises InvalidDestinationError."""
    if text not in places:
        parse_destination(text)
        if len(places) >= 4096:
            places.clear()
        places.add(text)
    return text


def _write_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is a text")
    if len(value) > MAX_TEXT:
        raise ValueError(f"it has {len(value)} characters; at most {MAX_TEXT} are carried")
    return attribute(str.__str__(value))


def _write_destination(value: Any) -> str:
    text = str(value)
    parse_destination(text)
    return attribute(text)


def _write_mode(value: Any) -> str:
    if value == "non-persistent" or value == 1:
        return "non-persistent"
    if value == "persistent" or value == 2:
        return ""
    raise ValueError("it is persistent or non-persistent")


def _write_time(value: Any) -> str:
    if not isinstance(value, datetime):
        raise ValueError("it is a datetime with a time zone")
    return time_text(value)


def _write_priority(value: Any) -> str:
    if type(value) is not int or not 0 <= value <= 9:
        raise ValueError("it is an int of 0 to 9")
    return "" if value == 4 else str(value)


def _write_seq(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**31) <= value < 2**31:
        raise ValueError("it is an int of 32 bits")
    return int.__repr__(value)


def _read_text(value: str) -> str:
    text = read_attribute(value)
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has {len(text)} characters; at most {MAX_TEXT} are carried")
    return text


def _read_destination(value: str) -> str:
    text = read_attribute(value)
    try:
        parse_destination(text)
    except InvalidDestinationError as error:
        raise ValueError(str(error)) from None
    return text


def _read_mode(value: str) -> str | None:
    mode = value.strip()
    if mode not in ("persistent", "non-persistent"):
        raise ValueError("it is persistent or non-persistent")
    return mode if mode == "non-persistent" else None


def _read_priority(value: str) -> int | None:
    priority: int = read_integer(value, int, 0, 9)
    return None if priority == 4 else priority


def _read_seq(value: str) -> int:
    return int(read_integer(value, int, -(2**31), 2**31 - 1))


def _read_needs(value: str) -> str:
    text = _read_text(value)
    unknown = [name for name in text.split() if name not in KNOWN]
    if unknown:
        raise ValueError(f"this reader does not know {unknown[0][:60]!r}, which the sender says it must understand")
    return text


_TIMES = ("delivery-time", "expiration", "timestamp")
_DESTINATIONS = ("destination", "reply-to")

WRITE: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(HEADERS, _write_text),
    **dict.fromkeys(_TIMES, _write_time),
    **dict.fromkeys(_DESTINATIONS, _write_destination),
    "delivery-mode": _write_mode,
    "priority": _write_priority,
    "group-seq": _write_seq,
}
READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(HEADERS, _read_text),
    **dict.fromkeys(_TIMES, read_time),
    **dict.fromkeys(_DESTINATIONS, _read_destination),
    "delivery-mode": _read_mode,
    "priority": _read_priority,
    "group-seq": _read_seq,
    "must-understand": _read_needs,
}
_PLAIN = frozenset({"correlation-id", "group-id", "id", "origin", "type", *_DESTINATIONS})
_ordered: set[tuple[str, ...]] = set()
"""Sequences of such names that are in canonical order."""
_EMPTY_IS_DEFAULT = frozenset({"delivery-mode", "priority"})


def _write_quick(head: Mapping[str, Any]) -> str | None:
    """Return the headers as attributes if they stand in their order and need no escapes, else None."""
    names = tuple(head)
    if names not in _ordered:
        if names != tuple(sorted(names)) or any(name not in _PLAIN and name not in _TIMES for name in names):
            return None
        if len(_ordered) >= 1024:
            _ordered.clear()
        _ordered.add(names)
    parts: list[str] = []
    texts: list[str] = []
    try:
        for name, value in head.items():
            if type(value) is str:
                if name in _TIMES or (name in _DESTINATIONS and not known_place(value)):
                    return None
                texts.append(value)
                parts.append(f' {name}="{value}"')
            elif name in _TIMES:
                parts.append(f' {name}="{time_text(value)}"')
            else:
                return None
    except (ValueError, AttributeError, TypeError, InvalidDestinationError):
        return None
    text = "".join(texts)
    if not text.isprintable() or "&" in text or "<" in text or '"' in text or "\\" in text or len(text) > MAX_TEXT:
        return None
    return "".join(parts)


def write_head(head: Mapping[str, Any]) -> str:
    """Return the headers as attributes, in canonical order. Raises MessageFormatError that names the header."""
    quick = _write_quick(head)
    if quick is not None:
        return quick
    parts: list[str] = []
    for name in sorted(head):
        value = head[name]
        write = WRITE.get(name)
        if write is None:
            raise MessageFormatError(f"there is no header {name!r:.60}; there are: {', '.join(HEADERS)}")
        if value is None:
            continue
        try:
            text = write(value)
        except (ValueError, InvalidDestinationError) as error:
            raise MessageFormatError(f"header {name} = {value!r:.60} cannot be carried: {error}") from None
        if text or name not in _EMPTY_IS_DEFAULT:
            parts.append(f' {name}="{text}"')
    return "".join(parts)


def read_head(attrs: Mapping[str, str], at: int | None) -> dict[str, Any]:
    """Return the headers among parsed attributes, in canonical order. Raises WireFormatError that names the header."""
    head: dict[str, Any] = {}
    for name in sorted(attrs):
        read = READ.get(name)
        if read is None:
            continue
        try:
            value = read(attrs[name])
        except ValueError as error:
            raise WireFormatError(f"header {name} = {attrs[name]!r:.60}: {error}", at) from None
        if value is not None:
            head[name] = value
    return head
