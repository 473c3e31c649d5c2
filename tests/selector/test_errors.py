"""Texts that are no selectors are refused when presented, with the place; hostile ones in bounded time, and without a crash."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from unimsg.errors import InvalidSelectorError
from unimsg.selector import Selector
from unimsg.selector.lexer import MAX_LENGTH
from unimsg.selector.parser import MAX_NESTING, MAX_OPERATORS

# clause, text, position of the fault, a word of the message
CASES: list[tuple[str, str, int, str]] = [
    # Static types (the compatibility kit wants these refused when presented).
    ("strings have no order", "p > 'foo'", 4, "number"),
    ("strings have no order, >=", "p >= 'foo'", 5, "number"),
    ("strings have no order, <", "'foo' < p", 0, "number"),
    ("booleans have no order", "p <= TRUE", 5, "number"),
    ("a string and a boolean", "'foo' > TRUE", 6, "compared"),
    ("a boolean and a number", "TRUE = 0", 5, "compared"),
    ("FALSE and a number", "FALSE = 0", 6, "compared"),
    ("a string and a number", "'1' = 1", 4, "compared"),
    ("a condition and a number", "(a > 1) = 1", 8, "compared"),
    ("LIKE takes a string", "p LIKE 7", 7, "string"),
    ("LIKE takes no identifier", "p LIKE q", 7, "string"),
    ("LIKE asks about an identifier", "'abc' LIKE 'a%'", 0, "identifier"),
    ("IN takes strings", "p NOT IN (1,2,3)", 10, "string"),
    ("IN takes no identifiers", "p IN (q)", 6, "string"),
    ("IN asks about an identifier", "5 IN ('5')", 0, "identifier"),
    ("BETWEEN compares numbers", "p BETWEEN 'a' AND 'b'", 10, "numbers"),
    ("BETWEEN's upper bound too", "p BETWEEN 1 AND 'b'", 16, "numbers"),
    ("BETWEEN asks about a number", "'a' BETWEEN 1 AND 2", 0, "numbers"),
    ("IS NULL asks about an identifier", "5 IS NULL", 0, "identifier"),
    ("IS NULL asks about no expression", "a + 1 IS NULL", 0, "identifier"),
    ("a selector is a condition, no number", "5", 0, "condition"),
    ("a selector is a condition, no string", "'x'", 0, "condition"),
    ("a selector is a condition, no sum", "p + 1", 0, "condition"),
    ("NOT turns conditions", "NOT 5", 4, "NOT"),
    ("NOT turns no strings", "a AND NOT 'x'", 10, "NOT"),
    ("AND joins conditions", "5 AND p", 0, "AND"),
    ("OR joins conditions", "p OR 'x'", 5, "OR"),
    ("+ computes with numbers", "p + 'x' > 3", 4, "+"),
    ("* computes with numbers", "TRUE * 2 = 2", 0, "*"),
    ("a sign stands before a number", "- 'x' = 1", 2, "sign"),
    ("a sign before a condition", "-(a OR b) = 1", 1, "sign"),
    # NULL and the other reserved words.
    ("NULL is no identifier", "NULL = 0", 0, "IS NULL"),
    ("NULL is no value", "p = NULL", 4, "IS NULL"),
    ("NOT is no identifier", "NOT = 0", 4, "value"),
    ("AND is no identifier", "AND = 0", 0, "AND"),
    ("OR is no identifier", "OR = 0", 0, "OR"),
    ("BETWEEN is no identifier", "BETWEEN = 0", 0, "BETWEEN"),
    ("LIKE is no identifier", "LIKE = 0", 0, "LIKE"),
    ("IN is no identifier", "in = 0", 0, "in"),
    ("IS is no identifier", "Is = 0", 0, "Is"),
    ("ESCAPE is no identifier", "ESCAPE = 0", 0, "ESCAPE"),
    # Headers.
    ("JMSDestination cannot be selected on", "JMSDestination = 'x'", 0, "JMSType"),
    ("JMSReplyTo cannot be selected on", "a AND JMSReplyTo IS NULL", 6, "JMSReplyTo"),
    ("JMSExpiration cannot be selected on", "JMSExpiration > 0", 0, "JMSExpiration"),
    ("JMSRedelivered cannot be selected on", "JMSRedelivered", 0, "JMSRedelivered"),
    ("JMSDeliveryTime cannot be selected on", "JMSDeliveryTime > 0", 0, "JMSDeliveryTime"),
    ("names that start with JMS are reserved", "JMSFoo = 1", 0, "JMSFoo"),
    # Syntax.
    ("nothing after the operator", "price >", 7, "ends"),
    ("no operator", "a b", 2, "b"),
    ("a word too many", "1 = 1 ; DROP", 6, ";"),
    ("an open string", "a = 'unclosed", 4, "closed"),
    ("a string that ends in a doubled quote", "a = 'x''", 4, "closed"),
    ("an open parenthesis", "(a = 1", 6, "character 0"),
    ("a parenthesis too many", "a = 1)", 5, ")"),
    ("empty parentheses", "()", 1, "value"),
    ("an empty IN", "a IN ()", 6, "string"),
    ("an IN without parentheses", "a IN 'x'", 5, "("),
    ("an IN that ends in a comma", "a IN ('x',)", 10, "string"),
    ("an open IN", "a IN ('x'", 9, ")"),
    ("BETWEEN without AND", "a BETWEEN 1", 11, "AND"),
    ("BETWEEN with OR", "a BETWEEN 1 OR 2", 12, "AND"),
    ("IS without NULL", "a IS 5", 5, "NULL"),
    ("IS TRUE is not JMS", "a IS TRUE", 5, "NULL"),
    ("NOT without its word", "a NOT 5", 6, "BETWEEN"),
    ("comparisons do not chain", "a = b = c", 6, "chain"),
    ("nor do they chain in mathematics", "1 < a < 5", 6, "chain"),
    ("nor does IS", "a IS NULL IS NULL", 10, "chain"),
    ("LIKE without a pattern", "a LIKE", 6, "string"),
    ("ESCAPE takes one character", "a LIKE 'x' ESCAPE 'ab'", 18, "one character"),
    ("ESCAPE takes a character", "a LIKE 'x' ESCAPE ''", 18, "one character"),
    ("ESCAPE takes a string", "a LIKE 'x' ESCAPE 5", 18, "string"),
    ("an escape at the end of a pattern", "a LIKE 'x!' ESCAPE '!'", 7, "end"),
    ("an escape before a plain character", "a LIKE '!x' ESCAPE '!'", 7, "before"),
    ("two operators", "a = = 1", 4, "value"),
    ("a leading operator", "* 1 = 1", 0, "value"),
    ("other people's not equal", "a != 1", 2, "<>"),
    ("other people's equal", "a == 1", 3, "value"),
    ("double quotes", 'a = "x"', 4, "single quotes"),
    ("a comment to the line's end", "a = 1 -- all of them", 6, "comments"),
    ("a comment", "a = 1 /* all */", 6, "comments"),
    ("no-break space is no white space of Java", "a\xa0= 1", 1, "xa0"),
    ("vertical tab is no white space of Java", "a\x0b= 1", 1, "x0b"),
    ("a function", "upper(a) = 'X'", 5, "("),
    # Numbers.
    ("8 is no octal digit", "a = 08", 4, "octal"),
    ("a number that runs into a word", "a = 5abc", 4, "5abc"),
    ("hexadecimal without digits", "a = 0x", 4, "0x"),
    ("an exponent without digits", "a = 1e", 4, "1e"),
    ("two points", "a = 1.2.3", 4, "1.2.3"),
    ("_ at the end", "a = 1_", 4, "1_"),
    ("one more than the largest long", "a = 9223372036854775808", 4, "64 bits"),
    ("one less than the smallest long", "a = -9223372036854775809", 5, "64 bits"),
    ("the smallest long in parentheses", "a = -(9223372036854775808)", 6, "64 bits"),
    ("more than 64 bits of hexadecimal", "a = 0x10000000000000000", 4, "64 bits"),
    ("more than a double", "a = 1e309", 4, "large"),
    ("more than a float", "a = 1e39f", 4, "float"),
    ("less than a double, and not zero", "a = 1e-400", 4, "small"),
    # Nothing at all.
    ("the empty text", "", 0, "empty"),
    ("white space", " \t\n", 3, "empty"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "position", "word"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_refused_where_the_fault_is(text: str, position: int, word: str) -> None:
    with pytest.raises(InvalidSelectorError) as caught:
        Selector(text)
    assert caught.value.position == position
    assert word in str(caught.value)
    assert f"character {position}" in str(caught.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidSelectorError, match="text"):
        Selector(5)  # type: ignore[arg-type]


def test_an_error_shows_little_of_a_long_text() -> None:
    with pytest.raises(InvalidSelectorError) as caught:
        Selector("a = 1 AND " * 1000 + "b = = 2")
    assert caught.value.position == 10_004
    assert len(str(caught.value)) < 300


HOSTILE: dict[str, Callable[[], str]] = {
    "parentheses": lambda: "(" * MAX_LENGTH,
    "closing parentheses": lambda: ")" * MAX_LENGTH,
    "quotes": lambda: "'" * MAX_LENGTH,
    "quotes, odd": lambda: "'" * (MAX_LENGTH - 1),
    "an open string": lambda: "a = '" + "x" * 60_000,
    "digits": lambda: "9" * MAX_LENGTH,
    "hexadecimal digits": lambda: "0x" + "f" * 65_000 + " = a",
    "underscores": lambda: "1" + "_" * 65_000,
    "digits and underscores": lambda: "1_" * 32_000,
    "a long mantissa": lambda: "1" * 60_000 + ".0 = a",
    "a long fraction": lambda: "0." + "0" * 60_000 + "1 = a",
    "a long exponent": lambda: "1e" + "9" * 60_000 + " = a",
    "points": lambda: "." * MAX_LENGTH,
    "exponents": lambda: "1e" * 32_000,
    "NOTs": lambda: "NOT " * 16_000 + "a",
    "signs": lambda: "- " * 32_000 + "a = 1",
    "commas": lambda: "a IN (" + "'x'," * 16_000 + ")",
    "words": lambda: "a " * 32_000,
    "an OR too many": lambda: " OR ".join(["a"] * (MAX_OPERATORS + 2)),
    "combining marks": lambda: "\u0301" * 60_000,
    "controls": lambda: "\x00" * 60_000,
    "surrogates": lambda: "\ud800" * 60_000,
    "too long": lambda: "a = 1 OR " * 1_000_000 + "a = 1",
    "one parenthesis too deep": lambda: "(" * (MAX_NESTING + 1) + "a" + ")" * (MAX_NESTING + 1),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_refused_in_time(name: str) -> None:
    text = HOSTILE[name]()
    with pytest.raises(InvalidSelectorError) as caught:
        Selector(text)
    assert caught.value.position is not None
    assert 0 <= caught.value.position <= len(text)


LARGE: dict[str, tuple[Callable[[], str], dict[str, object], bool | None]] = {
    "an identifier of 65,536 letters": (lambda: "é" * MAX_LENGTH, {}, None),
    "a long OR": (lambda: " OR ".join(["a = 1"] * 2000), {"a": 2}, False),
    "a long AND of unknowns": (lambda: " AND ".join(["a"] * 4000), {}, None),
    "a long sum": (lambda: " + ".join(["a"] * 4000) + " > 0", {"a": 2**62}, False),
    "a long product of longs": (lambda: " * ".join(["a"] * 4000) + " = 0", {"a": 2}, True),
    "an IN of thousands": (lambda: "a IN (" + ",".join(f"'{n}'" for n in range(8000)) + ")", {"a": "7999"}, True),
    "NOTs": (lambda: "NOT " * 4001 + "a", {"a": False}, True),
    "parentheses side by side, which are not deep": (lambda: " AND ".join(["(a)"] * (2 * MAX_NESTING)), {"a": True}, True),
    "the deepest parentheses": (lambda: "(" * MAX_NESTING + "a" + ")" * MAX_NESTING, {"a": True}, True),
    # NOT TRUE = (…) turns what is inside round, 32 times.
    "every level of the grammar, as deep as can be": (lambda: "x OR y AND NOT y = (" * MAX_NESTING + "y" + ")" * MAX_NESTING, {"x": False, "y": True}, True),
    "conditions as values, which could double at every level": (lambda: "(" * MAX_NESTING + "a" + " AND x) = TRUE" * MAX_NESTING, {"a": True, "x": True}, True),
    "numbers as deep as they go": (lambda: "1 + 1 * -(" * MAX_NESTING + "p" + ")" * MAX_NESTING + " = 3", {"p": 3}, True),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", LARGE)
def test_large_selectors_within_the_limits_work(name: str) -> None:
    text, row, truth = LARGE[name]
    selector = Selector(text())
    assert selector.evaluate(row) is truth
    assert selector.matches(row) is (truth is True)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%a" * 30_000 + "b", "a" * 1_000_000),
        ("_%" * 30_000, "a" * 1_000_000),
        ("%" + "_a" * 10_000 + "b%", "a" * 1_000_000),
        ("%" + "a_" * 100 + "b%" + "_a" * 100 + "%c", "a" * 1_000_000),
        ("%a%a%a%a%a%a%a%a%a%a%a%a%b", "a" * 100_000),
        ("%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%b", "a" * 100_000),
    ],
    ids=lambda value: f"{len(value)}",
)
def test_no_pattern_blows_up(pattern: str, text: str) -> None:
    expected = pattern == "_%" * 30_000
    assert Selector(f"p LIKE '{pattern}'").evaluate({"p": text}) is expected


def test_the_deepest_selector_leaves_half_of_the_stack() -> None:
    text = "x OR y AND NOT b = (" * MAX_NESTING + "FALSE" + ")" * MAX_NESTING

    def under(frames: int) -> bool | None:
        return under(frames - 1) if frames else Selector(text).evaluate({"x": True})

    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    assert under(sys.getrecursionlimit() // 2 - depth) is True


@pytest.mark.parametrize(
    "text", ["__import__('os') = 1", "a = '\\'); import os; ('", "k0 = 1", "get = 'x' OR m IS NULL", "eval = TRUE", "a = '{0}' OR b = '{}'"]
)
def test_no_text_becomes_code(text: str) -> None:
    try:
        selector = Selector(text)
    except InvalidSelectorError:
        return
    assert selector.evaluate({"a": "{0}"}) in (True, None)
    assert selector.evaluate({}) in (True, None)
