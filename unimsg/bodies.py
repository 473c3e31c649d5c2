"""The body of a message: what a Python value looks like is what it travels as.

| Python value                                       | kind   | payload, as the codec takes and gives it              |
|----------------------------------------------------|--------|-------------------------------------------------------|
| None                                               | None   | None                                                  |
| str                                                | text   | str                                                   |
| bytes, bytearray, memoryview                       | bytes  | bytes                                                 |
| flat dict (text keys, typed values), `Map`         | map    | dict of name to value                                 |
| flat list or tuple of typed values, `Stream`       | stream | list of values                                        |
| pydantic model, other nested or plain data, `Json` | object | str: the JSON text (RFC 8259)                         |
| `Fields`                                           | fields | `Fields`                                              |

A typed value is None, bool, int (64 bits), float, str, bytes, Decimal, an aware datetime or a wrapper of `unimsg.values`.
`Map`, `Stream` and `Json` pin the kind where the look of the value would say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from unimsg.errors import MessageFormatError
from unimsg.values import NATIVE_TYPES, WRAPPERS

__all__ = ["Field", "Fields", "Json", "Map", "Stream", "classify", "load_json"]

LEAVES: frozenset[type] = frozenset({*NATIVE_TYPES, *WRAPPERS})
"""The exact types of typed values."""

_LOW, _HIGH = -(2**63), 2**63 - 1


class Map(dict[str, Any]):
    """A dict that travels as a map, or not at all (MapMessage)."""


class Stream(list[Any]):
    """A list that travels as a stream, or not at all (StreamMessage)."""


class Json:
    """Plain data that travels as JSON, whatever it looks like (the object body)."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Json({self.value!r})"

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Json) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as for the dict that it mostly holds


class Field(NamedTuple):
    """One field of market data: a name, a typed value or nested `Fields`, and a field id if it has one."""

    name: str
    value: Any
    fid: int | None = None


class Fields:
    """Market data: fields in order, names may repeat, and fields may hold fields.

    `Fields({"bid": Decimal("101.25")})` or `Fields([Field("bid", Decimal("101.25"), fid=22)])`. `fields["bid"]` is the
    value of the first field of that name, `fields.get("bid")` likewise or None; iterating gives `Field`s.
    """

    __slots__ = ("_fields", "_index")

    def __init__(self, fields: Mapping[str, Any] | Iterable[Field | tuple[Any, ...]] = ()) -> None:
        pairs: Iterable[Any] = fields.items() if isinstance(fields, Mapping) else fields
        self._fields = tuple(field if type(field) is Field else Field(*field) for field in pairs)
        self._index: dict[str, Any] | None = None

    def _first(self) -> dict[str, Any]:
        if self._index is None:
            self._index = {}
            for field in self._fields:
                self._index.setdefault(field.name, field.value)
        return self._index

    def __getitem__(self, name: str) -> Any:
        return self._first()[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of the first field called `name`, or `default`."""
        return self._first().get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._first()

    def __iter__(self) -> Iterator[Field]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, Fields) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # values may be unhashable

    def __repr__(self) -> str:
        return f"Fields({list(map(tuple, self._fields))!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return name to value, in order, nested fields as dicts; of a repeated name the first counts."""
        return {name: value.to_dict() if isinstance(value, Fields) else value for name, value in self._first().items()}

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Field, ...]]]:
        return type(self), (self._fields,)


def classify(body: object) -> tuple[str | None, Any]:
    """Return (kind, payload) of a body, as in the table above.

    Raises MessageFormatError for what cannot be carried, with the place in it (`body.legs[2].price`).
    """
    kind = type(body)
    if body is None or kind is str:
        return (None if body is None else "text"), body
    if kind is dict or kind is Map:
        return _map(body, pinned=kind is Map)  # type: ignore[arg-type]
    if kind is bytes:
        return "bytes", body
    if kind is Fields:
        return "fields", body
    if isinstance(body, Stream) or kind is list or kind is tuple:
        return _stream(list(body), pinned=isinstance(body, Stream))  # type: ignore[call-overload]
    if isinstance(body, Json):
        return "object", dump_json(body.value)
    if isinstance(body, Map):
        return _map(dict(body), pinned=True)
    if isinstance(body, Fields):
        return "fields", body
    if isinstance(body, str) and not isinstance(body, WRAPPERS):
        return "text", str.__str__(body)
    if isinstance(body, (bytes, bytearray, memoryview)):
        return "bytes", bytes(body)
    return "object", dump_json(body)


def _map(body: dict[str, Any], pinned: bool) -> tuple[str, Any]:
    for name, value in body.items():
        if type(name) is str and name and type(value) in LEAVES and (type(value) is not int or _LOW <= value <= _HIGH):
            continue
        if pinned or (type(value) in LEAVES and type(value) not in _JSON_LEAVES):
            _refuse(f"body[{name!r}]", name if type(name) is not str or not name else value, "a map holds typed values under non-empty names")
        return "object", dump_json(body)
    return "map", dict(body)


def _stream(body: list[Any], pinned: bool) -> tuple[str, Any]:
    for place, value in enumerate(body):
        if type(value) in LEAVES and (type(value) is not int or _LOW <= value <= _HIGH):
            continue
        if pinned:
            _refuse(f"body[{place}]", value, "a stream holds typed values")
        return "object", dump_json(body)
    return "stream", body


_JSON_LEAVES = (str, int, float, bool, type(None))


def _refuse(place: str, value: object, rule: str) -> None:
    text = repr(value)
    raise MessageFormatError(f"{place} = {text if len(text) < 60 else text[:57] + '...'} cannot be carried: {rule}")


def dump_json(value: object) -> str:
    """Return plain data or a pydantic model as JSON text.

    NaN, infinities, bytes, Decimals and other types that JSON has no form for are refused inside plain data
    (MessageFormatError with the place): a pydantic model says how they are written.
    """
    dump = getattr(value, "model_dump_json", None)
    if dump is not None:
        return str(dump(by_alias=True))
    if hasattr(type(value), "__pydantic_serializer__") or hasattr(type(value), "__dataclass_fields__"):
        from pydantic import TypeAdapter

        return TypeAdapter(type(value)).dump_json(value, by_alias=True).decode()
    return json.dumps(_plain(value, "body", 0), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _plain(value: Any, place: str, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        if value - value == 0.0:
            return value
        _refuse(place, value, "JSON has no NaN and no infinity")
    if depth > 200:
        _refuse(place, "…", "JSON is carried to a depth of 200")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                _refuse(place, name, "the keys of a JSON object are texts")
        return {str(name): _plain(item, f"{place}.{name}", depth + 1) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{number}]", depth + 1) for number, item in enumerate(value)]
    if hasattr(kind, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _plain(float(value), place, depth)
    return _refuse(place, value, f"JSON has no form for {kind.__name__}; use a pydantic model, or a flat dict, which travels as a typed map")


def load_json(text: str) -> Any:
    """Return the plain data of a JSON text; NaN and duplicate keys are refused. Raises MessageFormatError."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except RecursionError:
        raise MessageFormatError("an object body is nested too deeply to be read") from None
    except MessageFormatError:
        raise
    except ValueError as error:
        raise MessageFormatError(f"an object body is no JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise MessageFormatError(f"an object body has the key {next(n for n in names if names.count(n) > 1)!r} twice")
    return found


def _constant(name: str) -> Any:
    raise MessageFormatError(f"an object body holds {name}, which JSON has not")
