"""Thousands of generated selectors, legal and not, against the plain evaluator of `reference.py`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimsg import values
from unimsg.errors import InvalidSelectorError
from unimsg.selector import Selector

from .reference import COMPARISONS, IllTypedError, Tree, cut, truth, type_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAMES = ("a", "b", "c", "price", "$x_1", "Näme")
STRINGS = ("", "a", "b", "ab", "a%b", "it's", "LSE", "_", "ÄÖ", "xaxbx")
NUMBERS = {
    "0": 0, "1": 1, "2": 2, "7": 7, "035": 29, "0x1d": 29, "0b11": 3, "3L": 3, "1_000": 1000, "9223372036854775807": 2**63 - 1,
    "7.": 7.0, ".7e4": 7000.0, "7E3": 7000.0, "0.1": 0.1, "101.25": 101.25, "2d": 2.0, "1e308": 1e308, "0.0": 0.0,
    "9007199254740993.": 9007199254740992.0, "9007199254740993": 9007199254740993,
}  # fmt: skip

literals = st.one_of(
    st.sampled_from([("lit", value, text) for text, value in NUMBERS.items()]),
    st.sampled_from(STRINGS).map(lambda text: ("lit", text, "'" + text.replace("'", "''") + "'")),
    st.sampled_from([("lit", True, "TRUE"), ("lit", False, "fAlSe")]),
)
names = st.sampled_from(NAMES)
leaves = st.one_of(names.map(lambda name: ("id", name)), literals)
likes = st.tuples(st.just("like"), st.booleans(), names, st.text("ab%_!x'", max_size=6), st.sampled_from([None, "!", "a", "_", "%"]))
ins = st.tuples(st.just("in"), st.booleans(), names, st.lists(st.sampled_from(STRINGS), min_size=1, max_size=4))
nulls = st.tuples(st.just("null"), st.booleans(), names)


def grow(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.sampled_from(("neg", "pos", "not")), children),
        st.tuples(st.sampled_from(("+", "-", "*", "/", *COMPARISONS, "and", "or")), children, children),
        st.tuples(st.just("between"), st.booleans(), children, children, children),
    )


# Mostly well typed: numbers grow by arithmetic, conditions by logic.
numeric = st.recursive(
    st.one_of(names.map(lambda name: ("id", name)), st.sampled_from([("lit", value, text) for text, value in NUMBERS.items()])),
    lambda x: st.one_of(st.tuples(st.sampled_from(("neg", "pos")), x), st.tuples(st.sampled_from("+-*/"), x, x)),
    max_leaves=5,
)
simple = st.one_of(
    st.tuples(st.sampled_from(COMPARISONS), numeric, numeric),
    st.tuples(st.sampled_from(("=", "<>")), leaves, leaves),
    st.tuples(st.just("between"), st.booleans(), numeric, numeric, numeric),
    likes, ins, nulls, names.map(lambda name: ("id", name)),
)  # fmt: skip
conditions = st.recursive(
    simple,
    lambda x: st.one_of(st.tuples(st.just("not"), x), st.tuples(st.sampled_from(("and", "or", "=", "<>")), x, x)),
    max_leaves=8,
)
anything = st.recursive(st.one_of(leaves, likes, ins, nulls), grow, max_leaves=8)

facts = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 7, 29, 2**63 - 1, -(2**63), 2**53 + 1, values.Int(7), values.Byte(1), values.NanoTime(29)]),
    st.sampled_from([0.0, -0.0, 7.0, 0.1, 1e308, 101.25, math.nan, math.inf, -math.inf, values.Float(0.1)]),
    st.sampled_from(
        [Decimal("0.1"), Decimal("101.25"), Decimal(7), Decimal("-0"), Decimal(9007199254740993), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")]
    ),
    st.sampled_from([*STRINGS, values.Char("a"), values.Char("_")]),
    st.sampled_from([b"a", datetime(2026, 1, 1, tzinfo=UTC), values.Vector([1, 2]), [1], object()]),
)
rows = st.dictionaries(names, facts)

LEVEL = {"or": 1, "and": 2, "not": 3, **dict.fromkeys((*COMPARISONS, "between", "in", "like", "null"), 4), "+": 5, "-": 5, "*": 6, "/": 6, "neg": 7, "pos": 7}


def written(tree: Tree, chance: Random, floor: int = 0) -> str:
    """Write a tree as a selector with as few parentheses as its precedences allow, at times more, and odd white space."""
    level = LEVEL.get(tree[0], 8)
    negated = chance.choice(["NOT ", "not\t"]) if len(tree) > 2 and tree[1] is True else ""
    match tree:
        case ("lit", _, text):
            return str(text)
        case ("id", name):
            text = name
        case ("neg" | "pos", operand):
            text = ("- " if tree[0] == "neg" else "+ ") + written(operand, chance, 7)
        case ("not", operand):
            text = "NOT " + written(operand, chance, 3)
        case ("null", _, name):
            text = f"{name} Is {negated}NULL"
        case ("in", _, name, choices):
            text = f"{name} {negated}IN(" + " ,".join("'" + choice.replace("'", "''") + "'" for choice in choices) + ")"
        case ("like", _, name, pattern, escape):
            text = f"{name} {negated}like '" + pattern.replace("'", "''") + "'" + (f" ESCAPE '{escape}'" if escape else "")
        case ("between", _, operand, low, high):
            text = f"{written(operand, chance, 5)} {negated}BETWEEN {written(low, chance, 5)} and {written(high, chance, 5)}"
        case (symbol, left, right):
            first = level + 1 if level == 4 else level
            space = chance.choice([" ", " \n", "\t\f"])
            text = f"{written(left, chance, first)}{space}{symbol.upper()} {written(right, chance, level + 1)}"
    if level < floor or chance.random() < 0.1:
        return f"({text})"
    return str(text)


def legal(tree: Tree) -> bool:
    try:
        if type_of(tree) not in ("bool", "any"):
            return False
        for part in parts(tree):
            if part[0] == "like":
                cut(part[3], part[4])
    except IllTypedError:
        return False
    return True


def parts(tree: Tree) -> Any:
    yield tree
    for part in tree[1:]:
        if isinstance(part, tuple):
            yield from parts(part)


def placed(error: InvalidSelectorError, text: str) -> bool:
    return error.position is not None and 0 <= error.position <= len(text)


def check(tree: Tree, row: dict[str, Any], style: int) -> None:
    text = written(tree, Random(style))
    if not legal(tree):
        with pytest.raises(InvalidSelectorError) as caught:
            Selector(text)
        assert placed(caught.value, text)
        return
    expected = truth(tree, row)
    selector = Selector(text)
    found = selector.evaluate(row)
    assert found is expected, f"{text!r} of {row} is {found}, and {expected} by the reference"
    assert selector.matches(row) is (expected is True)
    assert selector.names <= set(NAMES)


@settings(max_examples=5000, deadline=None)
@given(conditions, rows, st.integers(0, 999))
def test_well_typed_selectors_are_what_the_reference_says(tree: Tree, row: dict[str, Any], style: int) -> None:
    check(tree, row, style)


@settings(max_examples=4000, deadline=None)
@given(anything, rows, st.integers(0, 999))
def test_selectors_of_any_types_are_judged_as_the_reference_judges_them(tree: Tree, row: dict[str, Any], style: int) -> None:
    check(tree, row, style)


WORDS = (
    "a", "b", "price", "'x'", "''", "'", "1", "07", "08", "1.", ".5", "1e5", "0x", "0x1p3",
    "1L", "TRUE", "NULL", "NOT", "AND", "OR", "BETWEEN", "LIKE", "IN", "IS", "ESCAPE", "(", ")", ",",
    "=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "--", "JMSType", "JMSReplyTo", "JMSXGroupID",
    "é", ";", "\x00", '"',
)  # fmt: skip


@settings(max_examples=3000, deadline=None)
@given(
    st.one_of(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.lists(st.sampled_from(WORDS), max_size=8).map("".join), st.text(max_size=30)),
    rows,
)
def test_any_text_is_a_selector_or_an_error_with_a_position(text: str, row: dict[str, Any]) -> None:
    try:
        selector = Selector(text)
    except InvalidSelectorError as error:
        assert placed(error, text)  # noqa: PT017 - it need not be raised
    else:
        assert selector.evaluate(row) in (True, False, None)
        assert type(selector.evaluate(row)) in (bool, type(None))
        assert selector.matches(row) is (selector.evaluate(row) is True)


@settings(max_examples=2000, deadline=None)
@given(st.text("ab%_", max_size=9), st.text("ab", max_size=12), st.booleans())
def test_like_finds_what_the_table_of_all_pairs_finds(pattern: str, text: str, negated: bool) -> None:
    tree = ("like", negated, "a", pattern, None)
    selector = Selector(f"a {'NOT ' if negated else ''}LIKE '{pattern}'")
    assert selector.evaluate({"a": text}) is truth(tree, {"a": text})
