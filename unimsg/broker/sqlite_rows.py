"""How a frame becomes columns and comes back: the route's facts as JSON, and properties read from the stanza when asked for.

A stanza says its own properties, so they are not written twice: a frame that was stored gets them from its data, on first
use (only selectors on queues look). What is no stanza keeps them among the facts. Never pickle: the file may come from anywhere.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from unimsg import values
from unimsg.destination import Destination, parse_destination
from unimsg.driver import Frame, Route
from unimsg.errors import MessageFormatError, UnimsgError

__all__ = ["facts_of", "frame_of"]

_PLAIN = (str, int, bool, float, type(None))
_TYPED: dict[str, Any] = {
    kind.__name__: kind for kind in (Decimal, values.Byte, values.Short, values.Int, values.UByte, values.UShort, values.UInt, values.ULong, values.NanoTime)
} | {"Char": values.Char}
_STANZA = b"<message "
_fields = Route._fields
_defaults = tuple(Route._field_defaults.get(name) for name in _fields)
_own = tuple(
    (position, name, default)
    for position, (name, default) in enumerate(zip(_fields, _defaults, strict=True))
    if name not in ("destination", "properties", "headers")
)
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class StanzaProperties(Mapping[str, Any]):
    """The properties of a stanza, read on first use."""

    __slots__ = ("_data", "_found")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._found: Mapping[str, Any] | None = None

    def _read(self) -> Mapping[str, Any]:
        if self._found is None:
            from unimsg import wire  # only selectors on queues need the codec here

            try:
                self._found = wire.decode(self._data).properties
            except UnimsgError:
                # Whoever receives it is told why it cannot be read; a selector that met it here would stop everybody.
                self._found = {}
        return self._found

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(dict(self))


def facts_of(frame: Frame, mailbox: str) -> str:
    """Return what must be kept of a frame beside its data, in a mailbox whose destination is `mailbox`.

    Raises MessageFormatError for a header, or a property of what is no stanza, of a type that cannot be kept.
    """
    data, route = frame
    facts = {name: route[position] for position, name, default in _own if route[position] != default}
    if str(route.destination) != mailbox:
        facts["destination"] = str(route.destination)
    if route.headers:
        facts["headers"] = {name: _pack(value, name) for name, value in route.headers.items()}
    if route.properties and (route.foreign or not data.startswith(_STANZA)):
        facts["properties"] = {name: _pack(value, name) for name, value in route.properties.items()}
    return _encode(facts)


def frame_of(data: bytes, facts: str, mailbox: Destination[Any]) -> Frame:
    """Return the frame that `facts_of` has described."""
    found: dict[str, Any] = json.loads(facts)
    destination = mailbox
    if "destination" in found:
        destination = parse_destination(found.pop("destination"))
    if "headers" in found:
        found["headers"] = {name: _unpack(value) for name, value in found["headers"].items()}
    if "properties" in found:
        found["properties"] = {name: _unpack(value) for name, value in found["properties"].items()}
    elif not found.get("foreign") and data.startswith(_STANZA):
        found["properties"] = StanzaProperties(data)
    return Frame(data, Route(destination, **found))


def _pack(value: Any, name: str) -> Any:
    """Return a value as JSON: plain ones as they are, others as [type, text]."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is bytes:
        return ["bytes", b64encode(value).decode()]
    if kind is datetime:
        return ["datetime", value.isoformat()]
    if kind is values.Float:
        return ["Float", float(value)]
    if kind is values.Vector:
        return ["Vector", value.of, [_pack(item, name) for item in value]]
    if kind.__name__ in _TYPED and _TYPED[kind.__name__] is kind:
        return [kind.__name__, str(value)]
    if isinstance(value, Mapping):
        return ["map", [[_pack(key, name), _pack(item, name)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return ["list", [_pack(item, name) for item in value]]
    raise MessageFormatError(f"{name}: a value of type {kind.__name__} cannot be kept in the file")


def _unpack(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, given = value[0], value[1]
    if kind == "bytes":
        return b64decode(given)
    if kind == "datetime":
        return datetime.fromisoformat(given)
    if kind == "Float":
        return values.Float(given)
    if kind == "Vector":
        return values.Vector([_unpack(item) for item in value[2]], given)
    if kind == "map":
        return {_unpack(key): _unpack(item) for key, item in given}
    if kind == "list":
        return [_unpack(item) for item in given]
    return _TYPED[kind](given)
