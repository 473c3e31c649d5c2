"""Code made for one shape: a writer, and a pattern with its reader, for messages of the same names and types.

A feed sends millions of messages of one shape, and all but their values is then known: the writer is one join of
constants and values, and the pattern proves in one match that bytes are canonical and every value lexically right. What
does not fit (an odd character, a 30th of February) raises Slow or does not match, and the general ways decide. Names go
into generated code only if they are plain ASCII identifiers; nothing else from outside does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from unimsg.bodies import Field, Fields
from unimsg.destination import parse_destination
from unimsg.values import Byte, Char, Int, Short, UByte, UInt, ULong, UShort
from unimsg.wire.escape import plain_text, unescape
from unimsg.wire.judge import TREES, envelope_of
from unimsg.wire.lexical import READERS, WRITERS, time_text
from unimsg.wire.limits import MAX_TEXT, PREFIX, SUFFIX

__all__ = ["HEADS", "Row", "Shape", "ShapeReader", "Slow", "entities_right", "fits", "make_writer"]


class Slow(Exception):  # noqa: N818  (no error: it sends a message the general way)
    """Say that generated code does not know this value."""


class Row(NamedTuple):
    """A property, an entry or a field: its name, its wire type, and its field id."""

    name: str
    type: str
    fid: int | None = None


class Shape(NamedTuple):
    """What messages of one shape have in common: headers, properties, the kind of the body, and its rows (map, fields)."""

    heads: tuple[str, ...]
    properties: tuple[Row, ...]
    kind: str | None
    rows: tuple[Row, ...] = ()


TEXT = "[^<>\\x00-\\x08\\x0b-\\x1f\ufffe\uffff]*"
ATTRIBUTE = '[^"<&\\\\\\x00-\\x1f\ufffe\uffff]*'
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3})?)?Z"


def _signed(digits: int) -> str:
    return f"0|-?[1-9][0-9]{{0,{digits}}}"


class _Kind(NamedTuple):
    """How generated code treats a type: the expression that writes it, its pattern, the expression that reads it."""

    write: str
    pattern: str
    read: str


_INTEGERS = {"byte": (Byte, 1), "short": (Short, 3), "int": (Int, 8), "unsigned-byte": (UByte, 1), "unsigned-short": (UShort, 3)}
_INTEGERS |= {"unsigned-int": (UInt, 8), "unsigned-long": (ULong, 17)}
TYPES: dict[str, _Kind] = {
    "string": _Kind("{0}", TEXT, "({0} if '&' not in {0} else unescape({0}))"),
    "boolean": _Kind("('true' if {0} else 'false')", "true|false", "({0}=='true')"),
    "long": _Kind("str({0})", _signed(17), "int({0})"),
    "double": _Kind("{0}.__repr__()", r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[-+]?[0-9]{1,2})?", "float({0})"),
    "decimal": _Kind("{0}", r"-?[0-9]{1,40}(?:\.[0-9]{1,20})?", "Decimal({0})"),
    "datetime": _Kind("time({0})", TIME, "iso({0})"),
    "null": _Kind("''", "", "None"),
    "char": _Kind("text({0})", "[^<>&\\x00-\\x08\\x0b-\\x1f\ufffe\uffff]", "new_str(Char,{0})"),
    "bytes": _Kind("write_bytes({0})", "[A-Za-z0-9+/]*={{0,2}}".replace("{{", "{").replace("}}", "}"), "read_bytes({0})"),
    "float": _Kind("write_float({0})", r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[-+]?[0-9]{1,2})?", "read_float({0})"),
    "nanotime": _Kind("write_nanotime({0})", TIME[: TIME.index("(?:\\.")] + r"\.[0-9]{9}Z", "read_nanotime({0})"),
    **{
        name: _Kind("new_int({0})", _signed(digits).replace("-?" if name.startswith("u") else "\0", ""), f"int_of({kind.__name__},{{0}})")
        for name, (kind, digits) in _INTEGERS.items()
    },
}
_HEAD_TEXTS = frozenset({"correlation-id", "group-id", "id", "origin", "type"})
HEADS: dict[str, _Kind] = {
    **dict.fromkeys(_HEAD_TEXTS, _Kind("{0}", ATTRIBUTE, "{0}")),
    **dict.fromkeys(("destination", "reply-to"), _Kind("{0}", ATTRIBUTE, "({0} if {0} in places else where({0}))")),
    **dict.fromkeys(("delivery-time", "expiration", "timestamp"), _Kind("time({0})", TIME, "iso({0})")),
    "delivery-mode": _Kind("{0}", "non-persistent", "{0}"),
    "priority": _Kind("priority({0})", "[0-35-9]", "int({0})"),
    "group-seq": _Kind("seq({0})", _signed(8), "int({0})"),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]{0,63}")
_WRONG_ENTITY = re.compile("&(?!amp;|lt;|gt;)")


_places: set[str] = set()


def _where(text: str) -> str:
    """Return the text of a destination that makes sense. Raises InvalidDestinationError."""
    parse_destination(text)
    if len(_places) > 4096:
        _places.clear()
    _places.add(text)
    return text


def _text(text: str) -> str:
    escaped = plain_text(text)
    if escaped is None:
        raise Slow
    return escaped


def _priority(value: int) -> str:
    if type(value) is not int or not 0 <= value <= 9 or value == 4:
        raise Slow
    return str(value)


def _seq(value: int) -> str:
    if type(value) is not int or not -(2**31) <= value < 2**31:
        raise Slow
    return str(value)


_SPACE: dict[str, Any] = {
    "Slow": Slow,
    "Decimal": Decimal,
    "Field": Field,
    "Fields": Fields,
    "Char": Char,
    "unescape": unescape,
    "time": time_text,
    "iso": datetime.fromisoformat,
    "text": _text,
    "where": _where,
    "places": _places,
    "priority": _priority,
    "seq": _seq,
    "new_str": str.__new__,
    "new_int": int.__repr__,
    "int_of": int.__new__,
    **{f"write_{name}": WRITERS[name] for name in ("bytes", "float", "nanotime")},
    **{f"read_{name}": READERS[name] for name in ("bytes", "float", "nanotime")},
    **{kind.__name__: kind for kind, _ in _INTEGERS.values()},
}


def fits(shape: Shape) -> bool:
    """Tell whether code can be made for a shape."""
    rows = (*shape.properties, *shape.rows)
    return (
        len(rows) <= 60
        and all(row.type in TYPES and _NAME.fullmatch(row.name) for row in rows)
        and all(row.fid is None or (type(row.fid) is int and 0 <= row.fid < 2**32) for row in rows)
        and all(name in HEADS for name in shape.heads)
        and shape.kind in (None, "text", "object", "map", "fields")
    )


class _Plan:
    """The pieces of a shape in the order of its text: a constant before each value, and the value's name in the code."""

    def __init__(self, shape: Shape) -> None:
        heads = sorted(range(len(shape.heads)), key=shape.heads.__getitem__)
        self.h = [f"h{number}" for number in range(len(shape.heads))]
        self.v = [f"v{number}" for number in range(len(shape.properties))]
        self.r = [f"r{number}" for number in range(len(shape.rows))]
        self.values: list[tuple[str, _Kind]] = []
        self.constants: list[str] = []
        between = PREFIX
        for number in heads:
            name = shape.heads[number]
            self._add(f'{between} {name}="', self.h[number], HEADS[name])
            between = '"'
        between += ">"
        for variable, row in zip(self.v, shape.properties, strict=True):
            self._add(f'{between}<property name="{row.name}" type="{row.type}">', variable, TYPES[row.type])
            between = "</property>"
        if shape.kind is not None:
            between += f'<body type="{shape.kind}">'
            if shape.kind in ("text", "object"):
                self._add(between, "b", TYPES["string"])
                between = ""
            tag = "field" if shape.kind == "fields" else "entry"
            for variable, row in zip(self.r, shape.rows, strict=True):
                fid = "" if row.fid is None else f' fid="{row.fid}"'
                self._add(f'{between}<{tag}{fid} name="{row.name}" type="{row.type}">', variable, TYPES[row.type])
                between = f"</{tag}>"
            between += "</body>"
        self.end = between + SUFFIX

    def _add(self, constant: str, variable: str, kind: _Kind) -> None:
        self.constants.append(constant)
        self.values.append((variable, kind))


def _unpack(names: list[str], source: str) -> str:
    return f" [{','.join(names)}]={source}\n" if names else ""


def make_writer(shape: Shape) -> Callable[[Any, Any, Any], bytes]:
    """Return write(head values, property values, body: text or row values) -> bytes. It may raise anything: then go slow."""
    plan = _Plan(shape)
    texts = [name for name, kind in plan.values if kind is TYPES["string"]]
    attributes = [name for name, kind in plan.values if name[0] == "h" and kind.pattern is ATTRIBUTE]
    ranges = [name for name, kind in plan.values if kind is TYPES["long"]]
    finite = [name for name, kind in plan.values if kind is TYPES["double"]]
    modes = [name for name, kind in plan.values if kind.pattern == "non-persistent"]
    code = "def write(H,P,B):\n" + _unpack(plan.h, "H") + _unpack(plan.v, "P")
    code += _unpack(plan.r, "B") if plan.r else " b=B\n"
    # One look at all texts together is cheaper than one at each; a join also refuses what is no text.
    if attributes:
        code += f" a=''.join(({','.join(attributes)},))\n"
        code += f" if not a.isprintable() or '\"' in a or '&' in a or '<' in a or '\\\\' in a or len(a) > {MAX_TEXT}: raise Slow\n"
    if texts:
        code += f" t=''.join(({','.join(texts)},))\n"
        escape = "".join(f"  {name}=text({name})\n" for name in texts)
        code += f" if not t.isprintable() or '<' in t or '&' in t or '>' in t:\n{escape}"
    for name in (name for name, _ in plan.values if name[0] == "h" and shape.heads[int(name[1:])] in ("destination", "reply-to")):
        code += f" if {name} not in places: where({name})\n"
    decimals = [name for name, kind in plan.values if kind is TYPES["decimal"]]
    if decimals:
        code += "".join(f" {name}=str({name})\n" for name in decimals)
        code += f" d=''.join(({','.join(decimals)},))\n if d.strip('0123456789.-') or (len(d)>60 and max(map(len,({','.join(decimals)},)))>60): raise Slow\n"
    tests = [f"-0x8000000000000000<={name}<=0x7fffffffffffffff" for name in ranges]
    tests += [f"{name}-{name}==0.0" for name in finite] + [f"{name}=='non-persistent'" for name in modes]
    if tests:
        code += f" if not({' and '.join(tests)}): raise Slow\n"
    parts = [part for constant, (name, kind) in zip(plan.constants, plan.values, strict=True) for part in (repr(constant), kind.write.format(name))]
    code += f" return ''.join(({','.join([*parts, repr(plan.end)])},)).encode()\n"
    space = dict(_SPACE)
    exec(code, space)  # noqa: S102  (made of our own constants and of names that `fits` has checked)
    return space["write"]  # type: ignore[no-any-return]


class ShapeReader:
    """Match and read messages of one shape; the state is the values' texts and the bytes."""

    __slots__ = ("body", "head", "match", "properties", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        plan = _Plan(shape)
        pattern = "".join(f"{re.escape(constant)}({kind.pattern})" for constant, (_, kind) in zip(plan.constants, plan.values, strict=True))
        self.match = re.compile(pattern + re.escape(plan.end)).fullmatch
        reads = {name: kind.read.format(name) for name, kind in plan.values}
        ordered = [f"h{number}" for number in sorted(range(len(shape.heads)), key=shape.heads.__getitem__)]
        head = ",".join(f"{shape.heads[int(name[1:])]!r}:{reads[name]}" for name in ordered)
        properties = ",".join(f"{row.name!r}:{reads[name]}" for name, row in zip(plan.v, shape.properties, strict=True))
        start, stop = len(ordered), len(ordered) + len(plan.v)
        code = f"def head(g):\n{_unpack(ordered, f'g[:{start}]')} return {{{head}}}\n"
        unpacked = _unpack(plan.v, f"s[0][{start}:{stop}]")
        code += f"def properties(s):\n try:\n {unpacked}  return {{{properties}}}\n except ValueError:\n  return slow_properties(s)\n"
        if "b" in reads:
            unpacked, inner = f" b=s[0][{stop}]\n", reads["b"]
        else:
            unpacked = _unpack(plan.r, f"s[0][{stop}:]")
            rows = list(zip(plan.r, shape.rows, strict=True))
            inner = "{" + ",".join(f"{row.name!r}:{reads[name]}" for name, row in rows) + "}" if shape.kind == "map" else "None"
            if shape.kind == "fields":
                inner = "Fields((" + "".join(f"Field({row.name!r},{reads[name]},{row.fid!r})," for name, row in rows) + "))"
        code += f"def body(s):\n try:\n {unpacked}  return {shape.kind!r},{inner}\n except ValueError:\n  return slow_body(s)\n"
        space = dict(_SPACE, slow_properties=self._slow_properties, slow_body=self._slow_body)
        exec(code, space)  # noqa: S102  (as above)
        self.head: Callable[[tuple[str, ...]], dict[str, Any]] = space["head"]
        self.properties: Callable[[Any], Mapping[str, Any]] = space["properties"]
        self.body: Callable[[Any], tuple[str | None, Any]] = space["body"]

    @staticmethod
    def _slow_properties(state: tuple[tuple[str, ...], bytes]) -> Mapping[str, Any]:
        """Let the judge say which property does not convert."""
        return TREES.properties(envelope_of(state[1]))

    @staticmethod
    def _slow_body(state: tuple[tuple[str, ...], bytes]) -> tuple[str | None, Any]:
        return TREES.body(envelope_of(state[1]))

    def canonical(self, state: tuple[tuple[str, ...], bytes]) -> bytes:
        """Return the bytes as they came: a match proves that they are canonical."""
        return state[1]


def entities_right(text: str) -> bool:
    """Tell whether every `&` of canonical bytes starts an entity that character data may have."""
    return _WRONG_ENTITY.search(text) is None
