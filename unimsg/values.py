"""Typed values: numbers, characters, times and vectors whose wire type a Python type alone does not tell.

A plain int travels as `long`, a float as `double`, a Decimal as `decimal`, a datetime as `datetime`, and so on: the type
never depends on the value. Whoever needs another one says so with a wrapper: `Int(300)`, `Float(0.1)`, `Char("R")`. The
wrappers are subclasses of int, float, str and tuple, so they compute and compare like them, and a message that is read
and sent again keeps the types that it came with. Sources: JMS 3.1 §3.5.4 and §3.11 (the types), OpenMAMA (the rest).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Self

__all__ = ["Byte", "Char", "Float", "Int", "NanoTime", "Short", "UByte", "UInt", "ULong", "UShort", "Vector"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_F32 = struct.Struct("<f")


class _Ranged(int):
    """An int with a wire type and a range, which is checked."""

    __slots__ = ()
    wire_type: ClassVar[str] = ""
    low: ClassVar[int] = 0
    high: ClassVar[int] = 0

    def __new__(cls, value: int | str = 0) -> Self:
        number = super().__new__(cls, value)
        if not cls.low <= number <= cls.high:
            raise ValueError(f"{cls.__name__} holds {cls.low} to {cls.high}, not {int(number)}")
        return number

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self)})"

    def __str__(self) -> str:
        return int.__repr__(self)


class Byte(_Ranged):
    """A signed integer of 8 bits."""

    __slots__ = ()
    wire_type, low, high = "byte", -(2**7), 2**7 - 1


class Short(_Ranged):
    """A signed integer of 16 bits."""

    __slots__ = ()
    wire_type, low, high = "short", -(2**15), 2**15 - 1


class Int(_Ranged):
    """A signed integer of 32 bits."""

    __slots__ = ()
    wire_type, low, high = "int", -(2**31), 2**31 - 1


class UByte(_Ranged):
    """An unsigned integer of 8 bits."""

    __slots__ = ()
    wire_type, low, high = "unsigned-byte", 0, 2**8 - 1


class UShort(_Ranged):
    """An unsigned integer of 16 bits."""

    __slots__ = ()
    wire_type, low, high = "unsigned-short", 0, 2**16 - 1


class UInt(_Ranged):
    """An unsigned integer of 32 bits."""

    __slots__ = ()
    wire_type, low, high = "unsigned-int", 0, 2**32 - 1


class ULong(_Ranged):
    """An unsigned integer of 64 bits."""

    __slots__ = ()
    wire_type, low, high = "unsigned-long", 0, 2**64 - 1


class NanoTime(int):
    """A point in time in nanoseconds since 1970-01-01T00:00:00Z, within the years 1 to 9999."""

    __slots__ = ()
    wire_type: ClassVar[str] = "nanotime"
    low: ClassVar[int] = -62_135_596_800 * 10**9
    high: ClassVar[int] = 253_402_300_800 * 10**9 - 1

    def __new__(cls, value: int = 0) -> Self:
        """Take nanoseconds. Raises ValueError outside the years 1 to 9999."""
        number = super().__new__(cls, value)
        if not cls.low <= number <= cls.high:
            raise ValueError(f"NanoTime holds the years 1 to 9999, not {int(number)} ns")
        return number

    @property
    def datetime(self) -> datetime:
        """Return the time as a datetime in UTC, cut to microseconds."""
        return _EPOCH + timedelta(microseconds=int(self) // 1000)

    def __repr__(self) -> str:
        return f"NanoTime({int(self)})"


class Float(float):
    """A floating-point number of 32 bits; the value is rounded to the nearest one."""

    __slots__ = ()
    wire_type: ClassVar[str] = "float"

    def __new__(cls, value: float | str = 0.0) -> Self:
        """Take a number, rounded to 32 bits. Raises ValueError if it is too large for them."""
        number = float(value)
        try:
            return super().__new__(cls, _F32.unpack(_F32.pack(number))[0])
        except OverflowError:
            raise ValueError(f"Float holds 32 bits: {number!r} is too large") from None

    def __repr__(self) -> str:
        return f"Float({float(self)!r})"


class Char(str):
    """One character (one code point)."""

    __slots__ = ()
    wire_type: ClassVar[str] = "char"

    def __new__(cls, value: str) -> Self:
        """Take a text of one character. Raises ValueError for any other."""
        if not isinstance(value, str) or len(value) != 1:
            raise ValueError(f"Char holds exactly one character, not {value!r:.40}")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"Char({str(self)!r})"


class Vector(tuple[Any, ...]):  # noqa: SLOT001  (a subclass of tuple cannot have slots of its own)
    """A row of values of one wire type (`of`: `double`, `long`, `string`, `decimal`, `datetime` …), market-data style."""

    wire_type: ClassVar[str] = "vector"
    of: str

    def __new__(cls, items: Iterable[Any] = (), of: str | None = None) -> Self:
        """Take the items and, unless they are all of one Python type, their wire type. Raises ValueError."""
        vector = super().__new__(cls, items)
        vector.of = of if of is not None else cls._guess(vector)
        return vector

    @staticmethod
    def _guess(items: tuple[Any, ...]) -> str:
        kinds = {type(item) for item in items}
        if len(kinds) != 1:
            raise ValueError("Vector needs of= (the wire type of its items) unless they are all of one Python type")
        kind = kinds.pop()
        name = getattr(kind, "wire_type", None) or NATIVE_TYPES.get(kind)
        if name is None or name == "vector":
            raise ValueError(f"Vector cannot hold {kind.__name__}")
        return str(name)

    def __repr__(self) -> str:
        return f"Vector({list(self)!r}, of={self.of!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Vector):
            return self.of == other.of and tuple.__eq__(self, other)
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)  # tuple has a __ne__ of its own, which knows nothing of `of`
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash((self.of, tuple(self)))

    def __getnewargs__(self) -> tuple[tuple[Any, ...], str]:
        return tuple(self), self.of


NATIVE_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "long",
    float: "double",
    str: "string",
    bytes: "bytes",
    Decimal: "decimal",
    datetime: "datetime",
    type(None): "null",
}
"""The wire type of each plain Python type."""

WRAPPERS: tuple[type, ...] = (Byte, Short, Int, UByte, UShort, UInt, ULong, Float, Char, NanoTime, Vector)
"""The wrapper types; each knows its own `wire_type`."""
