"""Which shapes are worth code of their own: those seen often; a bounded number of them, whoever sends what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unimsg.errors import UnimsgError
from unimsg.message import ReceivedMessage
from unimsg.wire.limits import MAX_STANZA, MAX_TEXT
from unimsg.wire.shape import Row, Shape, ShapeReader, Slow, entities_right, fits, make_writer
from unimsg.wire.split import shape_of
from unimsg.wire.values import TYPE_NAMES

__all__ = ["match", "seen", "write"]

WRITE_AFTER = 256
"""Messages of one shape that are written the general way first: code costs as much as some hundred of them."""
SAMPLE, READ_AFTER = 8, 64
"""One message in SAMPLE that was read the general way is looked at; after READ_AFTER of one shape, it gets a pattern."""
MAX_WRITERS = 1024
MAX_READERS = 4
MAX_ROWS = 60

Writer = Callable[[Any, Any, Any], bytes]
_writers: dict[tuple[Any, ...], Writer | int | None] = {}
_readers: list[ShapeReader] = []
_samples: dict[Shape, int] = {}
_turn = 0

_UNFIT = (Slow, ValueError, TypeError, AttributeError, ArithmeticError, UnimsgError)
"""What generated code raises for a value that it was not made for; the general way then writes it, or says what is wrong."""


def write(head: Mapping[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any) -> bytes | None:
    """Return canonical bytes if code was made for messages like this one."""
    if kind == "map":
        if len(payload) > MAX_ROWS:
            return None
        key: tuple[Any, ...] = (*head, *properties, *map(type, properties.values()), kind, *payload, *map(type, payload.values()))
    elif kind == "fields":
        if len(payload) > MAX_ROWS:
            return None
        key = (*head, *properties, *map(type, properties.values()), kind, *[(name, type(value), fid) for name, value, fid in payload])
    else:
        key = (*head, *properties, *map(type, properties.values()), kind)
    writer = _writers.get(key, 0)
    if type(writer) is int:
        _count(key, writer, head, properties, kind, payload)
        return None
    if writer is None:
        return None
    try:
        if kind == "map":
            payload = payload.values()
        elif kind == "fields":
            payload = [value for _, value, _ in payload]
        data = writer(head.values(), properties.values(), payload)  # type: ignore[operator]
    except _UNFIT:
        return None
    return data if len(data) <= MAX_STANZA else None


def _count(key: tuple[Any, ...], count: int, head: Mapping[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any) -> None:
    if count < WRITE_AFTER:
        if len(_writers) >= MAX_WRITERS:
            _writers.clear()
        _writers[key] = count + 1
        return
    rows = [(name, value, None) for name, value in payload.items()] if kind == "map" else payload if kind == "fields" else ()
    shape = Shape(
        tuple(head),
        tuple(Row(name, TYPE_NAMES.get(type(value), "")) for name, value in properties.items()),
        kind,
        tuple(Row(name, TYPE_NAMES.get(type(value), ""), fid) for name, value, fid in rows),
    )
    _writers[key] = make_writer(shape) if fits(shape) else None


def match(text: str, data: bytes) -> ReceivedMessage[Any] | None:
    """Return the message of bytes if a pattern was made for messages like this one."""
    for reader in _readers:
        found = reader.match(text)
        if found is None:
            continue
        if "&" in text and not entities_right(text):
            return None
        if len(text) > MAX_TEXT and any(map(MAX_TEXT.__lt__, map(len, found.groups()[: len(reader.shape.heads)]))):
            return None
        groups = found.groups()
        try:
            message: ReceivedMessage[Any] = ReceivedMessage(reader.head(groups), reader, (groups, data), data)
        except (ValueError, UnimsgError):
            return None
        if reader is not _readers[0]:
            # The one that matched last is tried first. A new list: another thread may be walking the old one.
            _readers[:] = [reader, *[other for other in _readers if other is not reader]]
        return message
    return None


def seen(message: ReceivedMessage[Any]) -> None:
    """Take note of a message that was split, and make a pattern for its shape once that pays."""
    global _turn
    _turn += 1
    if _turn % SAMPLE:
        return
    shape = shape_of(message)
    count = _samples.get(shape, 0) + 1
    if len(_samples) >= MAX_WRITERS:
        _samples.clear()
    _samples[shape] = count
    if count == READ_AFTER and fits(shape) and all(reader.shape != shape for reader in _readers):
        _readers[:] = [ShapeReader(shape), *_readers[: MAX_READERS - 1]]


def forget() -> None:
    """Drop all generated code (for tests and measurements)."""
    _writers.clear()
    _readers.clear()
    _samples.clear()
