"""Which shapes are worth code of their own: those seen often; a bounded number of them, whoever sends what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unimsg.errors import UnimsgError
from unimsg.message import ReceivedMessage
from unimsg.wire.limits import MAX_STANZA
from unimsg.wire.shape import Row, Shape, ShapeReader, Slow, fits, make_writer
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
_ROWS = ("map", "fields")

Writer = Callable[[Any, Any, Any], bytes | None]
_latest: dict[tuple[Any, ...], Writer] = {}
"""By names alone, which are quick to look up: the writer that wrote the last such message. It looks at the types itself."""
_writers: dict[tuple[Any, ...], Writer | int | None] = {}
_readers: tuple[ShapeReader, ...] = ()
_samples: dict[Shape, int] = {}
_turn = 0

_UNFIT = (Slow, ValueError, TypeError, AttributeError, ArithmeticError, UnimsgError)
"""What generated code raises for a value that it was not made for; the general way then writes it, or says what is wrong."""


def write(head: Mapping[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any) -> bytes | None:
    """Return canonical bytes if code was made for messages like this one."""
    key: tuple[Any, ...]
    values: Any = payload
    try:
        if kind == "map":
            if len(payload) > MAX_ROWS:
                return None
            key = kind, len(head), len(properties), *head, *properties, *payload
            values = payload.values()
        elif kind == "fields":
            if not 0 < len(payload) <= MAX_ROWS:
                return None
            names, values, fids = zip(*payload, strict=True)
            key = kind, len(head), len(properties), *head, *properties, *names, *fids, *map(type, fids)  # True is no 1
        else:
            key = kind, len(head), *head, *properties
        writer = _latest.get(key)
        data = writer(head, properties, values) if writer is not None else None
        if data is None:
            types = (*map(type, properties.values()), *(map(type, values) if kind in _ROWS else ()))
            exact = _writers.get((*key, *types), 0)
            if type(exact) is int:
                _count((*key, *types), exact, types, head, properties, kind, payload)
                return None
            if exact is None:
                return None
            if len(_latest) >= MAX_WRITERS:
                _latest.clear()
            _latest[key] = exact  # type: ignore[assignment]
            data = exact(head, properties, values)  # type: ignore[operator]
    except _UNFIT:
        return None
    return data if data is not None and len(data) <= MAX_STANZA else None


def _count(
    key: tuple[Any, ...], count: int, types: tuple[type, ...], head: Mapping[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any
) -> None:
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
    _writers[key] = make_writer(shape, types) if fits(shape) else None


def match(text: str, data: bytes) -> ReceivedMessage[Any] | None:
    """Return the message of bytes if code was made for messages like this one."""
    global _readers
    readers = _readers
    for reader in readers:
        message = reader.read(text, data)
        if message is not None:
            if reader is not readers[0]:  # the one that read last is tried first
                _readers = (reader, *[other for other in readers if other is not reader])
            return message
    return None


def seen(message: ReceivedMessage[Any]) -> None:
    """Take note of a message that was split, and make a pattern for its shape once that pays."""
    global _turn, _readers
    _turn += 1
    if _turn % SAMPLE:
        return
    shape = shape_of(message)
    count = _samples.get(shape, 0) + 1
    if len(_samples) >= MAX_WRITERS:
        _samples.clear()
    _samples[shape] = count
    if count == READ_AFTER and fits(shape) and all(reader.shape != shape for reader in _readers):
        _readers = (ShapeReader(shape), *_readers[: MAX_READERS - 1])


def forget() -> None:
    """Drop all generated code (for tests and measurements)."""
    global _readers
    _latest.clear()
    _writers.clear()
    _readers = ()
    _samples.clear()
