"""How values of messages compare and compute: Java's rules, three-valued, over Python's values.

| in a message                                       | in a selector                                            |
|----------------------------------------------------|----------------------------------------------------------|
| bool                                               | boolean                                                  |
| int and the integer types of `unimsg.values`       | exact: a Java long                                       |
| float, `Float`                                     | approximate: a Java double                               |
| Decimal                                            | exact decimal (an extension: JMS has none)               |
| str, `Char`                                        | string                                                   |
| None, or not there                                 | NULL                                                     |
| bytes, datetime, Vector, anything else             | a value that is like no other                            |

None is UNKNOWN (NULL for a value). What meets NULL is unknown; unlike types compare false, by every operator (§3.8.1.1,
§3.8.1.2). Arithmetic with what is no number gives `UNLIKE`, so it compares false as well. Longs wrap at 64 bits and
divide towards zero; a long divided by 0, which is an error in Java and in SQL, is NULL. Long meets double as a double
(JLS §5.6.2). A Decimal computes with 34 digits (IEEE decimal128) and is compared exactly; a literal meets it as the
decimal number that was written, and a double as the shortest decimal that reads back as that double.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from unimsg.selector.tree import Approximate
from unimsg.values import WRAPPERS

__all__ = ["COMPARE", "UNLIKE", "both", "chain", "either", "opposite", "sign", "text_test"]

_NONE, _BOOL, _TEXT, _LONG, _DECIMAL, _DOUBLE = range(6)
_NUMBERS = _LONG
"""From here on, kinds are numbers, and a higher one draws a lower one up; doubles alone yield to decimals."""

_KINDS: dict[type, int] = {bool: _BOOL, str: _TEXT, int: _LONG, Decimal: _DECIMAL, float: _DOUBLE, Approximate: _DOUBLE}
for _wrapper in WRAPPERS:
    _KINDS[_wrapper] = next((kind for base, kind in ((int, _LONG), (float, _DOUBLE), (str, _TEXT)) if issubclass(_wrapper, base)), _NONE)

_CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN, traps=[])
_LOW, _HIGH, _SPAN = -(2**63), 2**63 - 1, 2**64

Truth = bool | None


class _Unlike:
    """The type of `UNLIKE`, which is like no other value, itself included."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNLIKE"


UNLIKE: Final = _Unlike()


def _plain(value: Any) -> tuple[int, Any]:
    """Return the kind of a value of a type that is not in the table (an enum, say), and the plain value in it."""
    if isinstance(value, int):
        return _LONG, int.__pos__(value)
    if isinstance(value, str):
        return _TEXT, str.__str__(value)
    if isinstance(value, float):
        return _DOUBLE, float.__pos__(value)
    if isinstance(value, Decimal):
        return _DECIMAL, Decimal(value)
    return _NONE, value


def _double(value: int) -> float:
    try:
        return int.__float__(value)
    except OverflowError:  # no message carries so large an integer, but a mapping may
        return math.inf if value > 0 else -math.inf


def _decimal(kind: int, value: Any) -> Decimal:
    if kind == _DECIMAL:
        return value  # type: ignore[no-any-return]
    if kind == _LONG:
        return Decimal(int.__pos__(value))
    return value.exact if type(value) is Approximate else Decimal(float.__repr__(value))


def _promote(left_kind: int, left: Any, right_kind: int, right: Any) -> tuple[Any, Any]:
    """Return two numbers of different kinds as numbers of one kind."""
    if _DECIMAL in (left_kind, right_kind):
        return _decimal(left_kind, left), _decimal(right_kind, right)
    return (_double(left), right) if left_kind == _LONG else (left, _double(right))


def _comparison(symbol: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Truth]:
    equality = symbol in ("=", "<>")

    def compared(left: Any, right: Any) -> Truth:
        if left is None or right is None:
            return None
        left_kind, right_kind = _KINDS.get(type(left)), _KINDS.get(type(right))
        if left_kind is None:
            left_kind, left = _plain(left)
        if right_kind is None:
            right_kind, right = _plain(right)
        if left_kind != right_kind:
            if left_kind < _NUMBERS or right_kind < _NUMBERS:
                return False
            left, right = _promote(left_kind, left, right_kind, right)
        elif left_kind < _NUMBERS:
            return left_kind != _NONE and equality and compare(left, right)
        if type(left) is Decimal and (left.is_nan() or right.is_nan()):
            return symbol == "<>"  # as Java's NaN; Python's raises where it is ordered
        return compare(left, right)

    return compared


COMPARE: dict[str, Callable[[Any, Any], Truth]] = {
    symbol: _comparison(symbol, compare)
    for symbol, compare in {
        "=": operator.eq,
        "<>": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }.items()
}
"""The six comparisons: True, False or None of any two values."""


def chain(value: Any, signs: str, operands: tuple[Any, ...]) -> Any:
    """Compute from left to right; `signs` has a character for each operand."""
    for symbol, operand in zip(signs, operands, strict=True):
        value = _compute(value, symbol, operand)
    return value


def _compute(left: Any, symbol: str, right: Any) -> Any:
    if left is None or right is None:
        return None
    left_kind, right_kind = _KINDS.get(type(left)), _KINDS.get(type(right))
    if left_kind is None:
        left_kind, left = _plain(left)
    if right_kind is None:
        right_kind, right = _plain(right)
    if left_kind < _NUMBERS or right_kind < _NUMBERS:
        return UNLIKE
    if left_kind != right_kind:
        left, right = _promote(left_kind, left, right_kind, right)
    if type(left) is Decimal:
        return None if symbol == "/" and not right else _DECIMALS[symbol](_CONTEXT, left, right)
    if isinstance(left, float):
        return _divided(left, right) if symbol == "/" else _PLAIN[symbol](left, right)
    if symbol != "/":
        return _wrapped(_PLAIN[symbol](left, right))
    if not right:
        return None
    quotient = abs(left) // abs(right)
    return _wrapped(quotient if (left < 0) == (right < 0) else -quotient)


_PLAIN: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_DECIMALS: dict[str, Callable[[Context, Decimal, Decimal], Decimal]] = {
    "+": Context.add,
    "-": Context.subtract,
    "*": Context.multiply,
    "/": Context.divide,
}


def _wrapped(number: int) -> int:
    return number if _LOW <= number <= _HIGH else (number - _LOW) % _SPAN + _LOW


def _divided(left: float, right: float) -> float:
    """Divide as IEEE 754 and Java do: by zero it gives an infinity, or NaN."""
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def sign(value: Any, negative: bool) -> Any:
    """Return a number with its sign kept or turned; what is no number becomes `UNLIKE`."""
    if value is None:
        return None
    kind = _KINDS.get(type(value))
    if kind is None:
        kind, value = _plain(value)
    if kind < _NUMBERS:
        return UNLIKE
    if not negative:
        return value
    if kind == _DECIMAL:
        return value.copy_negate()
    return _wrapped(-value) if kind == _LONG else -value


def text_test(value: Any, test: Callable[[str], bool], negated: bool) -> bool:
    """Apply a test of IN or LIKE to a value that is no plain str; what is no string passes neither it nor its negation."""
    if not isinstance(value, str):
        return False
    return test(str.__str__(value)) is not negated


def both(*parts: Truth) -> Truth:
    """Join by AND (§3.8.1.2, table 3-4); a value that is no boolean is unknown."""
    result: Truth = True
    for part in parts:
        if part is False:
            return False
        if part is not True:
            result = None
    return result


def either(*parts: Truth) -> Truth:
    """Join by OR (§3.8.1.2, table 3-5); a value that is no boolean is unknown."""
    result: Truth = False
    for part in parts:
        if part is True:
            return True
        if part is not False:
            result = None
    return result


def opposite(part: Truth) -> Truth:
    """Turn round (§3.8.1.2, table 3-6); a value that is no boolean is unknown."""
    return not part if isinstance(part, bool) else None
