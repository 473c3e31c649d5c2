"""Typed values as text: what writers write, and the wider forms (those of XML Schema) that readers accept.

Python's own parsers take too much (`1_0`, Arabic digits, week dates, nanoseconds cut off), so here a pattern judges first
and they only convert. A reader raises ValueError with the reason; whoever calls it knows the place.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

from unimsg.values import Byte, Char, Float, Int, NanoTime, Short, UByte, UInt, ULong, UShort
from unimsg.wire.escape import base64_text, read_base64
from unimsg.wire.limits import MAX_NUMBER

__all__ = ["INTEGERS", "ITEM_TYPES", "READERS", "TEXT_TYPES", "WRITERS", "read_integer", "read_time", "time_text"]

SPACE = " \t\n\r"
TEXT_TYPES = frozenset({"string", "char"})
"""Types whose white space counts, and which `encoding` may apply to."""
ITEM_TYPES = frozenset({"string", "char", "bytes"})
"""Types whose vectors have an `<item>` for each value; the others stand in one text, separated by spaces."""
INTEGERS: dict[str, tuple[Any, int, int]] = {
    "long": (int, -(2**63), 2**63 - 1),
    **{kind.wire_type: (kind, kind.low, kind.high) for kind in (Byte, Short, Int, UByte, UShort, UInt, ULong)},
}

_INTEGER = r"[+-]?[0-9]+"
_DECIMAL = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_DOUBLE = _DECIMAL + r"(?:[eE][+-]?[0-9]+)?"
_TIME = r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
_CANONICAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3})?)?Z").fullmatch
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_SPECIAL = {"INF": math.inf, "-INF": -math.inf, "NaN": math.nan}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_F32, _U32 = struct.Struct("<f"), struct.Struct("<I")
_days: dict[int, str] = {}
"""The number of a day to what its times start with: feeds send few days, and this is half of writing a time."""
_TWO, _THREE = [f"{number:02}" for number in range(60)], [f"{number:03}" for number in range(1000)]


def _collapsed(text: str, pattern: str, what: str) -> str:
    """Return the text without the white space around it if it is of this form."""
    text = text.strip(SPACE)
    if len(text) > MAX_NUMBER:
        raise ValueError(f"it has {len(text)} characters; a number or a time has at most {MAX_NUMBER}")
    if not re.fullmatch(pattern, text):
        raise ValueError(f"it is no {what}")
    return text


# Readers.


def read_integer(text: str, kind: Any, low: int, high: int) -> Any:
    """Return an integer of a kind and range. Raises ValueError."""
    number = int(_collapsed(text, _INTEGER, "integer"))
    if not low <= number <= high:
        raise ValueError(f"it is not in {low} to {high}")
    return number if kind is int else int.__new__(kind, number)


def _read_long(text: str) -> int:
    # An integer that writes itself as this very text was written canonically: cheaper than a pattern, and as strict.
    if len(text) < 20:
        try:
            number = int(text)
        except ValueError:
            number = 0
        if str(number) == text and -(2**63) <= number < 2**63:
            return number
    return int(read_integer(text, int, -(2**63), 2**63 - 1))


def _read_boolean(text: str) -> bool:
    value = _BOOLEANS.get(text)
    if value is None:
        value = _BOOLEANS.get(text.strip(SPACE))
        if value is None:
            raise ValueError("it is neither true nor false (nor 1 or 0)")
    return value


def _read_double(text: str) -> float:
    # Only these characters: then Python's grammar of floats is that of XML Schema.
    if len(text) > MAX_NUMBER or text.strip("0123456789.-e+") or not text:
        text = text.strip(SPACE)
        if text in _SPECIAL:
            return _SPECIAL[text]
        text = _collapsed(text, _DOUBLE, "floating-point number")
    try:
        number = float(text)
    except ValueError:
        raise ValueError("it is no floating-point number") from None
    if number - number != 0.0:
        raise ValueError("it is too large for a double")
    return number


def _read_float(text: str) -> Float:
    text = text.strip(SPACE)
    number = _read_double(text)
    if number - number != 0.0:
        return Float(number)
    try:
        near: float = _F32.unpack(_F32.pack(number))[0]
    except OverflowError:
        raise ValueError("it is too large for a float") from None
    if near != number:
        # Rounding twice, to 64 and then to 32 bits, may pick the wrong neighbour where the first landed in the middle.
        other = _neighbour(near, up=number > near)
        if other is not None and near + other == 2 * number and Decimal(text) != Decimal(number):
            near = max(near, other) if Decimal(text) > Decimal(number) else min(near, other)
    return float.__new__(Float, near)


def _neighbour(number: float, up: bool) -> float | None:
    """Return the next float of 32 bits in one direction, or None at the end."""
    if number == 0.0:
        return 2.0**-149 if up else -(2.0**-149)
    bits = _U32.unpack(_F32.pack(number))[0] + (1 if up == (number > 0) else -1)
    found: float = _F32.unpack(_U32.pack(bits))[0]
    return found if found - found == 0.0 else None


def _read_decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER or text.strip("0123456789.-") or not text:
        text = _collapsed(text, _DECIMAL, "decimal (digits with at most one point, no exponent)")
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError("it is no decimal (digits with at most one point, no exponent)") from None


def _instant(text: str) -> tuple[datetime, str]:
    """Return a time cut to whole seconds, in UTC, and the digits of its fraction."""
    found = re.fullmatch(_TIME, _collapsed(text, "(?s:.*)", ""))
    if found is None:
        raise ValueError("it is no time of the form YYYY-MM-DDThh:mm:ss[.fraction] with Z or an offset")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = found.groups()
    try:
        zone: timezone = UTC
        if sign:
            offset = timedelta(hours=int(off_hours), minutes=int(off_minutes))
            if int(off_minutes) > 59 or offset > timedelta(hours=14):
                raise ValueError("an offset is at most 14:00")
            zone = timezone(-offset if sign == "-" else offset)
        time = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=zone)
        return (time if zone is UTC else time.astimezone(UTC)), fraction or ""
    except (ValueError, OverflowError) as error:
        raise ValueError(f"there is no such time: {error}") from None


def read_time(text: str) -> datetime:
    """Return a datetime in UTC. Raises ValueError; so does a fraction finer than a microsecond (that is a `nanotime`)."""
    if _CANONICAL_TIME(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # the careful way says why
    time, fraction = _instant(text)
    if fraction[6:].strip("0"):
        raise ValueError("it is finer than a microsecond, which is what datetime holds: nanotime holds nanoseconds")
    return time.replace(microsecond=int(fraction[:6].ljust(6, "0"))) if fraction else time


def _read_nanotime(text: str) -> NanoTime:
    time, fraction = _instant(text)
    if fraction[9:].strip("0"):
        raise ValueError("it is finer than a nanosecond")
    since = time - _EPOCH
    return int.__new__(NanoTime, (since.days * 86_400 + since.seconds) * 10**9 + int(fraction[:9].ljust(9, "0")))


def _read_char(text: str) -> Char:
    if len(text) != 1:
        raise ValueError("a char is exactly one character")
    return str.__new__(Char, text)


def _read_null(text: str) -> None:
    if text.strip(SPACE):
        raise ValueError("null is empty")


READERS: dict[str, Callable[[str], Any]] = {
    "boolean": _read_boolean,
    "double": _read_double,
    "float": _read_float,
    "string": str,
    "char": _read_char,
    "bytes": read_base64,
    "decimal": _read_decimal,
    "datetime": read_time,
    "nanotime": _read_nanotime,
    "null": _read_null,
    **{name: partial(read_integer, kind=kind, low=low, high=high) for name, (kind, low, high) in INTEGERS.items()},
    "long": _read_long,
}
"""Wire type to what reads its text (strings already freed of their encoding); vectors and fields are no text."""


# Writers.


def time_text(time: datetime) -> str:
    """Return a time as `datetime` writes it: UTC, 0, 3 or 6 digits of a second. Raises ValueError without a time zone."""
    if time.tzinfo is not UTC:
        if time.tzinfo is None:
            raise ValueError("a time needs a time zone (datetime.now(UTC))")
        try:
            time = time.astimezone(UTC)
        except OverflowError:
            raise ValueError("in UTC it is outside the years 1 to 9999") from None
    number = time.toordinal()
    day = _days.get(number)
    if day is None:
        if len(_days) > 4096:
            _days.clear()
        day = _days[number] = datetime.isoformat(time)[:11]
    text = f"{day}{_TWO[time.hour]}:{_TWO[time.minute]}:{_TWO[time.second]}"
    micro = time.microsecond
    if not micro:
        return text + "Z"
    if micro % 1000:
        return f"{text}.{_THREE[micro // 1000]}{_THREE[micro % 1000]}Z"
    return f"{text}.{_THREE[micro // 1000]}Z"


def _nano_text(time: NanoTime) -> str:
    seconds, nanos = divmod(int(time), 10**9)
    return f"{time_text(_EPOCH + timedelta(seconds=seconds))[:-1]}.{nanos:09}Z"


def _long_text(number: int) -> str:
    if not -(2**63) <= number < 2**63:
        raise ValueError("an integer has 64 bits; use Decimal or a text")
    return str(number)


def _integer_text(number: int) -> str:
    return int.__repr__(number)


def _double_text(number: float) -> str:
    if number - number == 0.0:
        return float.__repr__(number)
    return "NaN" if number != number else "INF" if number > 0 else "-INF"


def _float_text(number: Float) -> str:
    value = float(number)
    if value - value != 0.0:
        return _double_text(value)
    for digits in range(9):
        text = f"{value:.{digits}e}"
        if _reads_as(text, value):
            break
        # Below a power of two the gap is half as wide as above it: the shortest may lie above though the nearest is below.
        mantissa, _, exponent = text.partition("e")
        above = f"{Decimal(mantissa) + Decimal(-1 if value < 0 else 1).scaleb(-digits)}e{exponent}"
        if _reads_as(above, value):
            text = above
            break
    return float.__repr__(float(text))


def _reads_as(text: str, value: float) -> bool:
    try:
        return float(_read_float(text)) == value
    except ValueError:  # rounded up beyond the largest
        return False


def _decimal_text(number: Decimal) -> str:
    text = str(number)
    if text.strip("0123456789.-"):
        if not number.is_finite():
            raise ValueError("decimal has no NaN and no infinity")
        if (number and number.adjusted() > MAX_NUMBER) or int(number.as_tuple().exponent) < -MAX_NUMBER:
            raise ValueError(f"without an exponent it has more than {MAX_NUMBER} characters")
        text = format(number, "f")
    if len(text) > MAX_NUMBER:
        raise ValueError(f"without an exponent it has more than {MAX_NUMBER} characters")
    return text


WRITERS: dict[str, Callable[[Any], str]] = {
    "boolean": lambda value: "true" if value else "false",
    "long": _long_text,
    "double": _double_text,
    "float": _float_text,
    "decimal": _decimal_text,
    "datetime": time_text,
    "nanotime": _nano_text,
    "bytes": base64_text,
    "null": lambda _: "",
    **{name: _integer_text for name in INTEGERS if name != "long"},
}
"""Wire type to what writes its text, for values of exactly the Python type that belongs to it; texts have escapes of their own."""
