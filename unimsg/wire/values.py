"""One value of a stanza: which type it says it has, and what it is; written from Python, read from a tree.

Properties, map entries, stream items and fields are the same thing under four names, so this is where all of them are
written (the careful way, which knows every case) and read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from unimsg.bodies import Field, Fields
from unimsg.errors import MessageFormatError, WireFormatError
from unimsg.values import NATIVE_TYPES, WRAPPERS, Vector
from unimsg.wire.escape import attribute, plain_text, read_attribute, read_base64_text, text_base64
from unimsg.wire.lexical import ITEM_TYPES, READERS, TEXT_TYPES, WRITERS, read_integer
from unimsg.wire.limits import MAX_DEPTH, MAX_ELEMENTS
from unimsg.wire.tree import Node

__all__ = ["TYPE_NAMES", "Budget", "field_value", "leaf_value", "write_value"]

TYPE_NAMES: dict[type, str] = {**NATIVE_TYPES, **{kind: str(vars(kind)["wire_type"]) for kind in WRAPPERS}}
"""Exact Python type to wire type."""
SIMPLE = frozenset(READERS) - {"null"}
"""Types that a vector may be of."""
KINDS = {name: kind for kind, name in TYPE_NAMES.items()}
MAX_NAME = 1024
_PARTS = re.compile("[^ \t\n\r]+")  # str.split would part at other white space too


class Budget:
    """Count the elements that are written."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS - 2

    def spend(self, place: str) -> None:
        """Take one. Raises MessageFormatError."""
        self.left -= 1
        if self.left < 0:
            raise MessageFormatError(f"{place}: the message has more than {MAX_ELEMENTS} elements (properties, entries, items, fields); split it")


def refuse(place: str, value: object, reason: object) -> NoReturn:
    """Raise MessageFormatError for a value that cannot be written."""
    text = repr(value)
    raise MessageFormatError(f"{place} = {text if len(text) < 60 else text[:57] + '...'} cannot be carried: {reason}")


def check_name(name: object, place: str) -> str:
    """Return the text of a name on the wire. Raises MessageFormatError."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        refuse(place, name, f"a name is a text of 1 to {MAX_NAME} characters")
    return str.__str__(name)


def write_value(tag: str, name: str | None, value: Any, place: str, budget: Budget, depth: int, fid: int | None = None) -> str:
    """Return the element of a value at a depth. Raises MessageFormatError that names the place."""
    budget.spend(place)
    if depth > MAX_DEPTH:
        raise MessageFormatError(f"{place}: fields are nested too deeply; a stanza has at most {MAX_DEPTH} elements open at once")
    kind = type(value)
    wire_type = TYPE_NAMES.get(kind)
    if wire_type is None:
        if isinstance(value, Fields):
            return _write_fields(tag, name, value, place, budget, depth, fid)
        return write_value(tag, name, _plain(value, place), place, budget, depth, fid)
    encoding = of = ""
    if wire_type in TEXT_TYPES:
        value = str.__str__(value)
        text = plain_text(value)
        if text is None:
            encoding, text = ' encoding="base64"', text_base64(value)
    elif wire_type == "vector":
        of = f' of="{value.of}"'
        text = _write_vector(value, place, budget, depth)
    else:
        try:
            text = WRITERS[wire_type](value)
        except ValueError as error:
            refuse(place, value, error)
    return f'<{tag}{encoding}{_fid(fid, place)}{_named(name, place)}{of} type="{wire_type}">{text}</{tag}>'


_openings: dict[tuple[Any, ...], tuple[str, Any]] = {}
"""(tag, name, type) to the opening tag, after the closing one of the row before, and what writes the text: None for a string."""


def _opening(tag: str, name: Any, kind: type) -> tuple[str, Any] | None:
    wire_type = TYPE_NAMES.get(kind)
    if wire_type is None or wire_type in ("vector", "char") or type(name) is not str or not 0 < len(name) <= 128:
        return None
    if len(_openings) >= 4096:
        _openings.clear()
    made = f'</{tag}><{tag} name="{attribute(name)}" type="{wire_type}">', None if wire_type == "string" else WRITERS[wire_type]
    _openings[tag, name, kind] = made
    return made


def write_rows(tag: str, rows: Mapping[Any, Any], budget: Budget) -> str | None:
    """Return the elements of properties or entries if all are of kinds that are met every day and need no escapes, else None."""
    if len(rows) > budget.left or not rows:
        return None if rows else ""
    parts: list[str] = []
    texts: list[str] = []
    try:
        for name, value in rows.items():
            opening, write = _openings.get((tag, name, type(value))) or _opening(tag, name, type(value))  # type: ignore[misc]  # None raises TypeError
            parts.append(opening)
            if write is None:
                texts.append(value)
                parts.append(value)
            else:
                parts.append(write(value))
        text = "".join(texts)
    except (ValueError, TypeError):
        return None
    if not text.isprintable() or "&" in text or "<" in text or ">" in text:
        return None
    budget.left -= len(rows)
    return f"{''.join(parts)[len(tag) + 3 :]}</{tag}>"


def _named(name: str | None, place: str) -> str:
    return "" if name is None else f' name="{attribute(check_name(name, place))}"'


def _fid(fid: int | None, place: str) -> str:
    if fid is None:
        return ""
    if type(fid) is not int or not 0 <= fid < 2**32:
        refuse(f"{place}.fid", fid, f"a field id is an int of 0 to {2**32 - 1}")
    return f' fid="{fid}"'


def _plain(value: Any, place: str) -> Any:
    """Take a subclass of a plain type (an enum, a driver's own datetime) for what it is."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)
    return refuse(place, value, f"a {type(value).__name__} has no wire type")


def _write_fields(tag: str, name: str | None, fields: Fields, place: str, budget: Budget, depth: int, fid: int | None) -> str:
    if tag != "field":
        refuse(place, fields, "only fields hold fields")
    inner = write_fields(fields, place, budget, depth + 1)
    return f'<field{_fid(fid, place)}{_named(name, place)} type="fields">{inner}</field>'


def write_fields(fields: Fields, place: str, budget: Budget, depth: int) -> str:
    """Return the elements of fields."""
    return "".join([write_value("field", name, value, f"{place}[{name!r}]", budget, depth, fid) for name, value, fid in fields])


def _write_vector(vector: Vector, place: str, budget: Budget, depth: int) -> str:
    of = vector.of
    if of not in SIMPLE:
        refuse(f"{place}.of", of, f"a vector is of one of {', '.join(sorted(SIMPLE))}")
    if of in ITEM_TYPES:
        return "".join([_write_item(item, of, f"{place}[{number}]", budget, depth + 1) for number, item in enumerate(vector)])
    return " ".join([_write_part(item, of, f"{place}[{number}]") for number, item in enumerate(vector)])


def _write_item(item: Any, of: str, place: str, budget: Budget, depth: int) -> str:
    budget.spend(place)
    if depth > MAX_DEPTH:
        raise MessageFormatError(f"{place}: fields are nested too deeply; a stanza has at most {MAX_DEPTH} elements open at once")
    if of == "bytes":
        if not isinstance(item, (bytes, bytearray, memoryview)):
            refuse(place, item, "the vector is of bytes")
        return f"<item>{WRITERS['bytes'](bytes(item))}</item>"
    if not isinstance(item, str) or (of == "char" and len(item) != 1):
        refuse(place, item, f"the vector is of {of}")
    text = plain_text(str.__str__(item))
    return f"<item>{text}</item>" if text is not None else f'<item encoding="base64">{text_base64(item)}</item>'


def _write_part(item: Any, of: str, place: str) -> str:
    try:
        wanted = KINDS[of]
        if type(item) is not wanted:
            # A vector says its type once: Vector([1, 2], of="int") need not repeat Int for each. A bool is no number here.
            base = next((base for base in (bool, int, float, Decimal, datetime) if issubclass(wanted, base)), object)
            if not isinstance(item, base) or (isinstance(item, bool) and base is not bool):
                refuse(place, item, f"the vector is of {of}")
            item = _plain(item, place) if wanted in NATIVE_TYPES else wanted(item)
        return WRITERS[of](item)
    except ValueError as error:
        if isinstance(error, MessageFormatError):
            raise
        refuse(place, item, error)


# Reading.


def leaf_value(wire_type: str, text: str, place: str) -> Any:
    """Return the value of an element that holds nothing but text, and has no attribute that matters.

    Raises WireFormatError that names the place.
    """
    reader = READERS.get(wire_type)
    if reader is None:
        raise WireFormatError(f"{place}: this version of the format does not know the type {wire_type[:60]!r}")
    try:
        return reader(text)
    except ValueError as error:
        shown = repr(text if len(text) < 60 else text[:57] + "...")
        raise WireFormatError(f"{place} = {shown} is no {wire_type}: {error}") from None


def decoded_text(node: Node, text: str, place: str) -> str:
    """Return the text of an element to which `encoding` may apply. Raises WireFormatError."""
    encoding = node.attrs.get("encoding")
    if encoding is None:
        return text
    if encoding != "base64":
        raise WireFormatError(f"{place}: this version of the format does not know the encoding {encoding[:60]!r}", node.at)
    try:
        return read_base64_text(text)
    except ValueError as error:
        raise WireFormatError(f"{place}: {error}", node.at) from None


def node_value(node: Node, place: str) -> Any:
    """Return the value of a property, entry, item or field. Raises WireFormatError that names the place."""
    wire_type = node.attrs["type"]
    if wire_type == "vector":
        return _read_vector(node, place)
    if wire_type == "fields" and node.tag.endswith("}field"):
        return Fields([field_value(kid, place) for kid in node.nodes])
    text = node.text
    if "encoding" in node.attrs:
        if wire_type not in TEXT_TYPES:
            raise WireFormatError(f"{place}: encoding is for texts, not for {wire_type[:60]!r}", node.at)
        text = decoded_text(node, text, place)
    try:
        return leaf_value(wire_type, text, place)
    except WireFormatError as error:
        raise WireFormatError(error.cause, node.at) from None


def field_value(node: Node, place: str) -> Field:
    """Return a field, its name freed of escapes. Raises WireFormatError."""
    name = read_attribute(node.attrs["name"])
    place = f"{place}[{name!r:.60}]"
    fid = node.attrs.get("fid")
    try:
        number = None if fid is None else read_integer(fid, int, 0, 2**32 - 1)
    except ValueError as error:
        raise WireFormatError(f"{place}.fid = {fid!r:.60}: {error}", node.at) from None
    return Field(name, node_value(node, place), number)


def _read_vector(node: Node, place: str) -> Vector:
    of = node.attrs.get("of", "")
    if of not in SIMPLE:
        raise WireFormatError(f"{place}: this version of the format does not know vectors of {of[:60]!r}", node.at)
    if of not in ITEM_TYPES:
        return Vector([leaf_value(of, part, f"{place}[{number}]") for number, part in enumerate(_PARTS.findall(node.text))], of=of)
    items: list[Any] = []
    for number, kid in enumerate(node.nodes):
        at = f"{place}[{number}]"
        text = kid.text
        if "encoding" in kid.attrs:
            if of not in TEXT_TYPES:
                raise WireFormatError(f"{at}: encoding is for texts, not for {of!r}", kid.at)
            text = decoded_text(kid, text, at)
        items.append(leaf_value(of, text, at))
    return Vector(items, of=of)
