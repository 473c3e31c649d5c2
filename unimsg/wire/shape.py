"""Code made for one shape: a writer, and a pattern with its reader, for messages of the same names and types.

A feed sends millions of messages of one shape, and all but their values is then known. The writer is one f-string of
constants and values. The reader's pattern jumps over the constants, whose lengths it knows, and takes the values out,
each as far as its form goes; then the same f-string, written of these values, must be the text that came, which proves
every constant in one comparison. What does not fit (an odd character, a 30th of February) is left to the general ways.
Names go into generated code only if they are plain ASCII identifiers; nothing else from outside does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from unimsg.bodies import Field, Fields
from unimsg.errors import UnimsgError
from unimsg.message import ReceivedMessage
from unimsg.values import Byte, Char, Int, Short, UByte, UInt, ULong, UShort
from unimsg.wire.escape import plain_text, unescape, unfit
from unimsg.wire.head import known_place, places
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


TEXT = "[^<]*+"
"""Texts are only delimited by their pattern; one look at all of them together judges their characters."""
ATTRIBUTE = '[^"]*+'
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}"
"""A day and a time of it; `fromisoformat` knows which there are, but for the hour 24, which newer ones take."""


class _Kind(NamedTuple):
    """How generated code treats a type: what stands in the writer's f-string, its pattern, the expression that reads it.

    A pattern takes no form but those that readers accept, or such that what reads it raises an error for.
    """

    write: str
    pattern: str
    read: str


_INTEGERS = {"byte": (Byte, 2), "short": (Short, 4), "int": (Int, 9), "unsigned-byte": (UByte, 2), "unsigned-short": (UShort, 4)}
_INTEGERS |= {"unsigned-int": (UInt, 9), "unsigned-long": (ULong, 18)}
_REAL = "[-+0-9.]{1,40}+(?:e[-+]?[0-9]{1,2})?"
TYPES: dict[str, _Kind] = {
    "string": _Kind("{0}", TEXT, "{0}"),
    "boolean": _Kind("'true' if {0} else 'false'", "true|false", "{0}=='true'"),
    "long": _Kind("{0}", "-?[0-9]{1,18}+", "int({0})"),
    "double": _Kind("{0}!r", _REAL, "float({0})"),
    "decimal": _Kind("{0}", "[-+0-9.]{1,60}+", "Decimal({0})"),
    "datetime": _Kind("time({0})", DAY + r"(?:\.[0-9]{1,6}+)?Z", "iso({0})"),
    "null": _Kind("''", "", "None"),
    "char": _Kind("text({0})", "[^<>&\\x00-\\x08\\x0b-\\x1f\ufffe\uffff]", "new_str(Char,{0})"),
    "bytes": _Kind("write_bytes({0})", "[A-Za-z0-9+/]*+={0,2}", "read_bytes({0})"),
    "float": _Kind("write_float({0})", _REAL, "read_float({0})"),
    "nanotime": _Kind("write_nanotime({0})", DAY + r"\.[0-9]{9}Z", "read_nanotime({0})"),
    **{
        name: _Kind("new_int({0})", f"{'' if name.startswith('u') else '-?'}[0-9]{{1,{digits}}}+", f"int_of({kind.__name__},int({{0}}))")
        for name, (kind, digits) in _INTEGERS.items()
    },
}
_HEAD_TEXTS = frozenset({"correlation-id", "group-id", "id", "origin", "type"})
HEADS: dict[str, _Kind] = {
    **dict.fromkeys(_HEAD_TEXTS, _Kind("{0}", ATTRIBUTE, "{0}")),
    **dict.fromkeys(("destination", "reply-to"), _Kind("{0}", ATTRIBUTE, "{0}")),
    **dict.fromkeys(("delivery-time", "expiration", "timestamp"), TYPES["datetime"]),
    "delivery-mode": _Kind("{0}", "non-persistent", "{0}"),
    "priority": _Kind("priority({0})", "[0-35-9]", "int({0})"),
    "group-seq": _Kind("seq({0})", "-?[0-9]{1,9}+", "int({0})"),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]{0,63}")
_WRONG_ENTITY = re.compile("&(?!amp;|lt;|gt;)")


def entities_right(text: str) -> bool:
    """Tell whether every `&` of canonical bytes starts an entity that character data may have."""
    return _WRONG_ENTITY.search(text) is None


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
    "UnimsgError": UnimsgError,
    "Decimal": Decimal,
    "Field": Field,
    "Fields": Fields,
    "Char": Char,
    "unescape": unescape,
    "time": time_text,
    "iso": datetime.fromisoformat,
    "text": _text,
    "unfit": unfit,
    "entities_right": entities_right,
    "Received": ReceivedMessage,
    "where": known_place,
    "places": places,
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
        self.names = [name for name, _ in self.values]
        self.attributes = [name for name, kind in self.values if kind.pattern is ATTRIBUTE]
        self.texts = [name for name, kind in self.values if kind is TYPES["string"]]
        self.places = [name for name in self.h if shape.heads[int(name[1:])] in ("destination", "reply-to")]

    def _add(self, constant: str, variable: str, kind: _Kind) -> None:
        self.constants.append(constant)
        self.values.append((variable, kind))

    def of(self, *types: str) -> list[str]:
        """Return the names of the values of some types."""
        return [name for name, kind in self.values if any(kind is TYPES[type] for type in types)]

    def string(self, values: list[str]) -> str:
        """Return the f-string that writes a stanza of expressions for its values."""
        pieces = [f"{constant}{{{value}}}" for constant, value in zip(self.constants, values, strict=True)]
        return f"f'''{''.join(pieces)}{self.end}'''"


def _joined(names: list[str]) -> str:
    return "f'" + "".join(f"{{{name}}}" for name in names) + "'"


def _unpack(names: list[str], source: str) -> str:
    return f" [{','.join(names)}]={source}\n" if names else ""


_PLAIN = "{0}.isprintable() and '&' not in {0} and '<' not in {0} and '>' not in {0} and '\"' not in {0} and '\\\\' not in {0}"
_PLAIN_ATTRIBUTES = "{0}.isprintable() and '&' not in {0} and '<' not in {0} and '\"' not in {0} and '\\\\' not in {0}"


def make_writer(shape: Shape, kinds: Sequence[type]) -> Callable[[Any, Any, Any], bytes | None]:
    """Return write(head, properties, body: text or row values) -> bytes, for values of just these kinds, properties first.

    It returns None for values of other kinds, and may raise anything for values that it does not know: then go slow.
    """
    plan = _Plan(shape)
    variables = [*plan.v, *plan.r]
    space = dict(_SPACE)
    code = "def write(H,P,B):\n" + _unpack(plan.h, "H.values()") + _unpack(plan.v, "P.values()")
    code += _unpack(plan.r, "B") if plan.r else " b=B\n"
    exact = [f"type({name}) is k{number}" for number, name in enumerate(variables)]
    space.update({f"k{number}": kind for number, kind in enumerate(kinds)})
    if exact:
        code += f" if not({' and '.join(exact)}): return None\n"
    strings = [f"type({name}) is str" for name in [*plan.attributes, *(["b"] if "b" in plan.names else [])]]
    if strings:
        code += f" if not({' and '.join(strings)}): raise Slow\n"
    # One look at all texts together is cheaper than one at each. JSON has its quotes, so it is looked at alone.
    alone = shape.kind == "object"
    together = [name for name in [*plan.attributes, *plan.texts] if not (alone and name == "b")]
    if together:
        code += f" x={_joined(together)}\n if not({_PLAIN.format('x')} and len(x)<={MAX_TEXT}):\n"
        if plan.attributes:
            code += f"  a={_joined(plan.attributes)}\n  if not({_PLAIN_ATTRIBUTES.format('a')} and len(a)<={MAX_TEXT}): raise Slow\n"
        code += "".join(f"  {name}=text({name})\n" for name in plan.texts if name in together)
        code += "  pass\n"
    if alone:
        code += " b=text(b)\n"
    code += "".join(f" if {name} not in places: where({name})\n" for name in plan.places)
    decimals = plan.of("decimal")
    if decimals:
        code += "".join(f" {name}=str({name})\n" for name in decimals)
        code += f" d={_joined(decimals)}\n if d.strip('0123456789.-') or (len(d)>60 and max(map(len,({','.join(decimals)},)))>60): raise Slow\n"
    tests = [f"-0x8000000000000000<={name}<=0x7fffffffffffffff" for name in plan.of("long")]
    tests += [f"{name}-{name}==0.0" for name in plan.of("double")]
    tests += [f"{name}=='non-persistent'" for name, kind in plan.values if kind.pattern == "non-persistent"]
    if tests:
        code += f" if not({' and '.join(tests)}): raise Slow\n"
    code += f" return {plan.string([kind.write.format(name) for name, kind in plan.values])}.encode()\n"
    exec(code, space)  # noqa: S102  (made of our own constants and of names that `fits` has checked)
    return space["write"]  # type: ignore[no-any-return]


class ShapeReader:
    """Read messages of one shape; what it leaves in a message is the values' texts, escapes undone, and the bytes."""

    __slots__ = ("body", "properties", "read", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        plan = _Plan(shape)
        reads = {name: kind.read.format(name) for name, kind in plan.values}
        rows = list(zip(plan.r, shape.rows, strict=True))
        head = ",".join(f"{name!r}:{reads[variable]}" for name, variable in sorted(zip(shape.heads, plan.h, strict=True)))
        properties = ",".join(f"{row.name!r}:{reads[name]}" for name, row in zip(plan.v, shape.properties, strict=True))
        if shape.kind == "map":
            inner = "{" + ",".join(f"{row.name!r}:{reads[name]}" for name, row in rows) + "}"
        elif shape.kind == "fields":
            inner = "Fields((" + "".join(f"Field({row.name!r},{reads[name]},{row.fid!r})," for name, row in rows) + "))"
        else:
            inner = reads.get("b", "None")
        unpacked = _unpack(plan.names, "s[0]")
        failed = "except (ValueError,ArithmeticError)"  # Decimal has its own way of saying that a text is no number
        code = self._read_code(plan, head)
        code += f"def properties(s):\n try:\n {unpacked}  return {{{properties}}}\n {failed}: return slow_properties(s)\n"
        code += f"def body(s):\n try:\n {unpacked}  return {shape.kind!r},{inner}\n {failed}: return slow_body(s)\n"
        pattern = "".join(f".{{{len(constant)}}}({kind.pattern})" for constant, (_, kind) in zip(plan.constants, plan.values, strict=True))
        match = re.compile(f"{pattern}.{{{len(plan.end)}}}", re.DOTALL).fullmatch
        space = dict(_SPACE, match=match, reader=self, slow_properties=self._slow_properties, slow_body=self._slow_body)
        exec(code, space)  # noqa: S102  (as above)
        self.read: Callable[[str, bytes], ReceivedMessage[Any] | None] = space["read"]
        self.properties: Callable[[Any], Mapping[str, Any]] = space["properties"]
        self.body: Callable[[Any], tuple[str | None, Any]] = space["body"]

    @staticmethod
    def _read_code(plan: _Plan, head: str) -> str:
        """Return the code of read(text, data) -> message, or None where the general ways should look."""
        code = f"def read(text,data):\n m=match(text)\n if m is None: return None\n g=m.groups()\n{_unpack(plan.names, 'g')}"
        code += f" if {plan.string(plan.names)}!=text: return None\n"
        together = [*plan.attributes, *plan.texts]
        if together:
            code += f" x={_joined(together)}\n if not({_PLAIN.format('x')} and len(x)<={MAX_TEXT}):\n"
            if plan.attributes:
                code += f"  a={_joined(plan.attributes)}\n  if not({_PLAIN_ATTRIBUTES.format('a')} and len(a)<={MAX_TEXT}): return None\n"
            if plan.texts:
                code += f"  t={_joined(plan.texts)}\n  if '>' in t or unfit(t): return None\n"
                code += f"  if '&' in t:\n   if not entities_right(text): return None\n   [{','.join(plan.texts)}]=map(unescape,({','.join(plan.texts)},))\n"
                code += f"   g=({','.join(plan.names)},)\n"
            code += "  pass\n"
        code += " try:\n" + "".join(f"  if {name} not in places: where({name})\n" for name in plan.places)
        return code + f"  return Received({{{head}}},reader,(g,data),data)\n except (ValueError,UnimsgError): return None\n"

    @staticmethod
    def _slow_properties(state: tuple[tuple[str, ...], bytes]) -> Mapping[str, Any]:
        """Let the judge say which property does not convert."""
        return TREES.properties(envelope_of(state[1]))

    @staticmethod
    def _slow_body(state: tuple[tuple[str, ...], bytes]) -> tuple[str | None, Any]:
        return TREES.body(envelope_of(state[1]))

    def canonical(self, state: tuple[tuple[str, ...], bytes]) -> bytes:
        """Return the bytes as they came: reading has proved that they are canonical."""
        return state[1]
