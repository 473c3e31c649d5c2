"""A plain reading of JMS 3.1 §3.8 as an evaluator of trees, written apart from the library and sharing no line with it.

A tree is a tuple: ("lit", value, text) | ("id", name) | ("neg" | "pos", x) | ("+" | "-" | "*" | "/", x, y) |
("=" | "<>" | "<" | "<=" | ">" | ">=", x, y) | ("between", negated, x, low, high) | ("in", negated, name, [strings]) |
("like", negated, name, pattern, escape) | ("null", negated, name) | ("not", x) | ("and" | "or", x, y).
`type_of` gives the static type or raises IllTypedError; `truth` gives True, False or None for a mapping.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
Tree = tuple[Any, ...]


class IllTypedError(Exception):
    """The tree would be refused when presented."""


def type_of(tree: Tree) -> str:
    """Return bool, number, string or any."""
    match tree:
        case ("lit", bool(), _):
            return "bool"
        case ("lit", str(), _):
            return "string"
        case ("lit", _, _):
            return "number"
        case ("id", _) | ("null", _, _) | ("in", _, _, _) | ("like", _, _, _, _):
            return "any" if tree[0] == "id" else "bool"
        case ("neg" | "pos" | "+" | "-" | "*" | "/", *operands):
            need(operands, "number")
            return "number"
        case ("between", _, *operands):
            need(operands, "number")
            return "bool"
        case ("not" | "and" | "or", *operands):
            need(operands, "bool")
            return "bool"
        case ("=" | "<>", left, right):
            types = {type_of(left), type_of(right)} - {"any"}
            if len(types) > 1:
                raise IllTypedError
            return "bool"
        case (_, left, right):
            need([left, right], "number")
            return "bool"
    raise AssertionError(tree)


def need(operands: list[Tree], wanted: str) -> None:
    for operand in operands:
        if type_of(operand) not in (wanted, "any"):
            raise IllTypedError


class Written(tuple[float, Decimal]):
    """An approximate literal: the double, and the decimal that was written."""


class Nothing:
    """What arithmetic gives for operands that are no numbers: a value unlike all others."""


NOTHING = Nothing()


def family(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float, Decimal)):
        return "number"
    return "string" if isinstance(value, str) else "other"


def wrap(number: int) -> int:
    return int.from_bytes((number & (2**64 - 1)).to_bytes(8, "big"), "big", signed=True)


def value_of(tree: Tree, row: dict[str, Any]) -> Any:
    """Return a value; None is NULL; a literal that is approximate stays (double, Decimal of its text)."""
    match tree:
        case ("lit", float() as value, text):
            return Written((value, Decimal(text.rstrip("dDfF"))))
        case ("lit", value, _):
            return value
        case ("id", name):
            return row.get(name)
        case ("neg" | "pos", operand):
            return arithmetic("*", value_of(operand, row), -1 if tree[0] == "neg" else 1, signed=True)
        case ("+" | "-" | "*" | "/", left, right):
            return arithmetic(tree[0], value_of(left, row), value_of(right, row))
    return truth(tree, row)


def arithmetic(symbol: str, left: Any, right: Any, signed: bool = False) -> Any:
    if left is None or right is None:
        return None
    if signed and isinstance(left, Written):
        return Written((left[0] * right, left[1].copy_negate() if right < 0 else left[1]))
    plain = [value[0] if isinstance(value, Written) else value for value in (left, right)]
    if [family(value) for value in plain] != ["number", "number"]:
        return NOTHING
    if any(isinstance(value, Decimal) for value in plain):
        if signed:
            return left.copy_negate() if right < 0 else left
        first, second = as_decimal(left), as_decimal(right)
        with localcontext(Context(prec=34, traps=[])):
            if symbol == "/":
                return None if second == 0 else first / second
            return {"+": first + second, "-": first - second, "*": first * second}[symbol]
    if any(isinstance(value, float) for value in plain):
        if signed:
            return -plain[0] if right < 0 else plain[0]
        return doubles(symbol, float(plain[0]), float(plain[1]))
    one, two = (int(value) for value in plain)
    if symbol == "/":
        return None if two == 0 else wrap(math.trunc(Fraction(one, two)))
    return wrap({"+": one + two, "-": one - two, "*": one * two}[symbol])


def doubles(symbol: str, one: float, two: float) -> float:
    if symbol != "/":
        return {"+": one + two, "-": one - two, "*": one * two}[symbol]
    if two != 0:
        return one / two
    if one == 0 or one != one:
        return math.nan
    return math.inf if math.copysign(1, one) == math.copysign(1, two) else -math.inf


def as_decimal(value: Any) -> Decimal:
    if isinstance(value, Written):
        return value[1]
    return value if isinstance(value, Decimal) else Decimal(repr(float(value))) if isinstance(value, float) else Decimal(int(value))


def compare(symbol: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    one, two = (value[0] if isinstance(value, Written) else value for value in (left, right))
    kind = family(one)
    if kind != family(two) or kind == "other":
        return False
    if kind != "number":
        return {"=": one == two, "<>": one != two}.get(symbol, False)
    if isinstance(one, Decimal) or isinstance(two, Decimal):
        one, two = as_decimal(left), as_decimal(right)
        if one.is_nan() or two.is_nan():
            return symbol == "<>"
    elif isinstance(one, float) or isinstance(two, float):
        one, two = float(one), float(two)
    return {"=": one == two, "<>": one != two, "<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}[symbol]


def like(text: str, pattern: list[tuple[str, bool]]) -> bool:
    """Match by the table of all pairs of beginnings; a pattern is (character, is special)."""
    row = [True] + [False] * len(text)
    for character, special in pattern:
        if special and character == "%":
            seen = False
            new = []
            for cell in row:
                seen = seen or cell
                new.append(seen)
        else:
            new = [False] + [row[at] and (special or text[at] == character) for at in range(len(text))]
        row = new
    return row[-1]


def cut(pattern: str, escape: str | None) -> list[tuple[str, bool]]:
    found, at = [], 0
    while at < len(pattern):
        if pattern[at] == escape:
            at += 1
            if at == len(pattern) or pattern[at] not in ("_", "%", escape):
                raise IllTypedError
            found.append((pattern[at], False))
        else:
            found.append((pattern[at], pattern[at] in "_%"))
        at += 1
    return found


def negate(value: bool | None) -> bool | None:
    return None if value is None else not value


def truth(tree: Tree, row: dict[str, Any]) -> bool | None:
    """Return the truth of a condition (tables 3-4 to 3-6)."""
    match tree:
        case ("lit", value, _):
            return value  # type: ignore[no-any-return]
        case ("id", name):
            return row[name] if isinstance(row.get(name), bool) else None
        case ("not", operand):
            return negate(truth(operand, row))
        case ("and" | "or", left, right):
            pair = (truth(left, row), truth(right, row))
            decisive = tree[0] == "or"
            return decisive if decisive in pair else None if None in pair else not decisive
        case ("null", negated, name):
            return (row.get(name) is None) is not negated
        case ("in", negated, name, choices):
            return test(row.get(name), negated, lambda text: text in choices)
        case ("like", negated, name, pattern, escape):
            return test(row.get(name), negated, lambda text: like(text, cut(pattern, escape)))
        case ("between", False, operand, low, high):
            return truth(("and", (">=", operand, low), ("<=", operand, high)), row)
        case ("between", True, operand, low, high):
            return truth(("or", ("<", operand, low), (">", operand, high)), row)
        case (symbol, left, right):
            return compare(symbol, value_of(left, row), value_of(right, row))
    raise AssertionError(tree)


def test(value: Any, negated: bool, passes: Any) -> bool | None:
    if value is None:
        return None
    return isinstance(value, str) and passes(str(value)) is not negated
