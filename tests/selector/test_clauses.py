"""What Jakarta Messaging 3.1 §3.8 says of selectors, clause by clause: each case names its clause in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from unimsg import values
from unimsg.selector import Selector

T, F, U = True, False, None
MIN, MAX = -(2**63), 2**63 - 1

# clause, selector, identifiers, truth
CASES: list[tuple[str, str, dict[str, Any], bool | None]] = [
    # Literals.
    ("a string literal is enclosed in single quotes", "a = 'literal'", {"a": "literal"}, T),
    ("a quote inside is doubled", "a = 'literal''s'", {"a": "literal's"}, T),
    ("two quotes are the empty string", "a = ''", {"a": ""}, T),
    ("four quotes are a quote", "a = ''''", {"a": "'"}, T),
    ("a backslash in a string is a backslash", "a = '\\n'", {"a": "\\n"}, T),
    ("strings are Unicode", "a = 'Zürich 東京 🎈'", {"a": "Zürich 東京 🎈"}, T),
    ("a string may hold line ends", "a = 'x\ny'", {"a": "x\ny"}, T),
    ("words of the language inside a string are text", "a = 'b AND NOT c'", {"a": "b AND NOT c"}, T),
    ("exact literal", "a = 57", {"a": 57}, T),
    ("exact literal with a minus", "a = -957", {"a": -957}, T),
    ("exact literal with a plus", "a = +62", {"a": 62}, T),
    ("the smallest long, with an L", f"a = {MIN}L AND b = {MAX}l", {"a": MIN, "b": MAX}, T),
    ("the smallest long, behind two signs, wraps to itself as in Java", f"a = - {MIN}", {"a": MIN}, T),
    ("a leading 0 is octal", "a = 035", {"a": 29}, T),
    ("0x is hexadecimal", "a = 0x1d AND a = 0X1D", {"a": 29}, T),
    ("0b is binary", "a = 0b11101", {"a": 29}, T),
    ("a hexadecimal literal writes the bits of a long", "a = 0xffffffffffffffff", {"a": -1}, T),
    ("Java takes _ between digits", "a = 1_000_000", {"a": 1_000_000}, T),
    ("zero", "a = 0 AND b = 00 AND c = 0L", {"a": 0, "b": 0, "c": 0}, T),
    ("approximate literal with an exponent", "a = 7E3 AND b = -57.9e2", {"a": 7000, "b": -5790.0}, T),
    ("approximate literal that ends with a point", "a = 7000.", {"a": 7000.0}, T),
    ("approximate literal that begins with a point", "a = .7e4", {"a": 7000}, T),
    ("approximate literal with signs", "a = -95.7 AND b = +6.2", {"a": -95.7, "b": 6.2}, T),
    ("approximate literal with a negative exponent", "a = 25E-2", {"a": 0.25}, T),
    ("the suffix d makes a double", "a = 7d AND a = 7.D", {"a": 7.0}, T),
    ("the suffix f rounds to 32 bits", "a = 0.1f", {"a": values.Float(0.1)}, T),
    ("a double is no float", "a = 0.1", {"a": values.Float(0.1)}, F),
    ("hexadecimal floating point", "a = 0x1.8p1", {"a": 3.0}, T),
    ("a number of digits with a leading 0 and a point is decimal", "a = 08.5 AND b = 09e0", {"a": 8.5, "b": 9}, T),
    ("TRUE and FALSE", "a = TRUE AND b = FALSE", {"a": True, "b": False}, T),
    ("boolean literals in lower case", "a = true AND b = False", {"a": True, "b": False}, T),
    ("a boolean literal is a condition", "TRUE OR (FALSE AND FALSE)", {}, T),
    # Identifiers.
    ("identifiers may start with $ and _", "$a = TRUE AND _a = FALSE", {"$a": True, "_a": False}, T),
    ("identifiers may hold digits, $ and _", "a1$_9 = 1", {"a1$_9": 1}, T),
    ("identifiers are case sensitive", "myProp = TRUE AND MYpROP = FALSE", {"myProp": True, "MYpROP": False}, T),
    ("an identifier of another case is another one", "Price = 1", {"price": 1}, U),
    ("Java letters of any script", "größe > 1 AND цена = 2 AND 価格 = 3", {"größe": 2, "цена": 2, "価格": 3}, T),
    ("currency signs are Java letters", "€uro = 1", {"€uro": 1}, T),
    ("a name that begins like a word of the language is a name", "nothing = 1 AND island = 2 AND orders = 3", {"nothing": 1, "island": 2, "orders": 3}, T),
    ("identifiers have no length limit of their own", f"{'x' * 5000} = 1", {"x" * 5000: 1}, T),
    ("JMSX names are properties", "JMSXDeliveryCount > 1", {"JMSXDeliveryCount": 2}, T),
    ("JMS_ names are properties of a provider", "JMS_unimsg_x = 1", {"JMS_unimsg_x": 1}, T),
    ("a property that is not there is NULL", "a = 1", {}, U),
    ("no conversion: a string is no number", "NumberOfOrders > 1", {"NumberOfOrders": "2"}, F),
    ("no conversion: a number is no string", "a = '2'", {"a": 2}, F),
    ("no conversion: a boolean is no number", "a = 1", {"a": True}, F),
    ("no conversion: a number is no boolean", "a = TRUE", {"a": 1}, F),
    # White space and case.
    ("tabs are white space", "a\t=\t'x'", {"a": "x"}, T),
    ("form feeds are white space", "a\f=\f'x'", {"a": "x"}, T),
    ("line ends are white space", "a\n= \r\n'x'", {"a": "x"}, T),
    ("white space is not needed around operators", "a=1 AND b>2", {"a": 1, "b": 3}, T),
    ("words in lower and mixed case", "a is not null and b Between 1 aNd 3 oR not c", {"a": 1, "b": 2}, T),
    # Expressions.
    ("a boolean property is a condition", "a", {"a": True}, T),
    ("a false boolean property", "a", {"a": False}, F),
    ("an absent boolean property is unknown", "a", {}, U),
    ("a property that is no boolean is unknown as a condition", "a", {"a": 1}, U),
    ("nor does NOT make it match", "NOT a", {"a": "x"}, U),
    ("parentheses come first", "(a OR b) AND b", {"a": True, "b": False}, F),
    ("NOT binds closer than AND", "NOT a AND b", {"a": False, "b": False}, F),
    ("NOT binds closer than OR", "NOT a OR b", {"a": True, "b": True}, T),
    ("AND binds closer than OR", "a OR a AND b", {"a": True, "b": False}, T),
    ("NOT is weaker than a comparison", "NOT a = 1", {"a": 2}, T),
    ("two NOTs are none", "NOT NOT a", {"a": True}, T),
    ("three NOTs are one", "NOT NOT NOT a", {"a": True}, F),
    # Comparison.
    ("numbers compare by all operators", "a = 1 AND a > 0 AND a >= 1 AND a < 2 AND a <= 1 AND a <> 2", {"a": 1}, T),
    ("and by none wrongly", "a <> 1 OR a > 1 OR a >= 2 OR a < 1 OR a <= 0 OR a = 2", {"a": 1}, F),
    ("exact and approximate values compare", "a < b", {"a": 0, "b": 1.5}, T),
    ("an exact property with an approximate literal", "a = 7.0", {"a": 7}, T),
    ("an approximate property with an exact literal", "a >= 7", {"a": 7.0}, T),
    ("a long meets a double as a double (numeric promotion)", "a = 9007199254740992.", {"a": 2**53 + 1}, T),
    ("a double meets a long literal as a double", "a = 9007199254740993", {"a": 2.0**53}, T),
    ("longs compare exactly with each other", "a = 9007199254740993", {"a": 2**53}, F),
    ("the literal may stand first", "100 < a AND 'x' = b AND TRUE = c", {"a": 101, "b": "x", "c": True}, T),
    ("two literals may be compared", "1 < 2 AND 'a' <> 'b' AND TRUE <> FALSE", {}, T),
    ("two properties may be compared", "a = b", {"a": "x", "b": "x"}, T),
    ("strings are equal when their characters are", "a <> 'X'", {"a": "x"}, T),
    ("booleans compare by = and <>", "a = TRUE AND b <> FALSE", {"a": True, "b": True}, T),
    ("two strings have no order", "a < b OR a > b OR a <= b OR a >= b", {"a": "x", "b": "y"}, F),
    ("unlike types compare false by =", "a = b", {"a": 1, "b": "1"}, F),
    ("unlike types compare false by <>", "a <> b", {"a": 1, "b": "1"}, F),
    ("unlike types compare false by <> with a literal", "a <> 'x'", {"a": 5}, F),
    ("NaN equals nothing and is unequal to all", "a = a OR a < 1 OR a >= 1", {"a": float("nan")}, F),
    ("NaN is unequal to itself", "a <> a", {"a": float("nan")}, T),
    ("infinity is larger than all", "a > 9223372036854775807", {"a": float("inf")}, T),
    ("-0.0 equals 0", "a = 0 AND a = 0.0", {"a": -0.0}, T),
    ("a parenthesised condition compares as a boolean", "(a > 1) = (b > 1) AND (a > 1) <> c", {"a": 2, "b": 3, "c": False}, T),
    ("and is unknown when its operand is", "(a > 1) = TRUE", {}, U),
    # Arithmetic.
    ("unary minus and plus of properties", "-a < 0 AND +b < 0", {"a": 5, "b": -5}, T),
    ("multiplication and division", "a * 2 = 10 AND b / 2 = -5", {"a": 5, "b": -10}, T),
    ("addition and subtraction", "a + 5 = 0 AND b - 5 = 5", {"a": -5, "b": 10}, T),
    ("unary minus binds closest", "- a + b = 0", {"a": 5, "b": 5}, T),
    ("* and / bind closer than + and -", "a + b * c - d / e = 6", {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 4.0}, T),
    ("left to right within a level: -", "10 - 4 - 3 = 3", {}, T),
    ("left to right within a level: /", "100 / 10 / 5 = 2 AND 7 / 2 * 2 = 6", {}, T),
    ("arithmetic binds closer than comparison", "a + 2 < 10", {"a": 7}, T),
    ("parentheses in arithmetic", "(a + 2) * 3 = 9 AND -(a) = -1", {"a": 1}, T),
    ("integers divide towards zero", "7 / 2 = 3 AND -7 / 2 = -3 AND 7 / -2 = -3", {}, T),
    ("a double among integers makes a double", "7 / 2.0 = 3.5 AND 1 + .5 = 1.5", {}, T),
    ("integers divide as longs before they meet a double", "1 / 2 * 2.0 = 0", {}, T),
    ("longs wrap", f"a + 1 = {MIN} AND {MAX} + 1 < 0", {"a": MAX}, T),
    ("the smallest long divided by -1 wraps", f"{MIN} / -1 = {MIN}", {}, T),
    ("an integer divided by zero is unknown", "a / 0 = 1", {"a": 1}, U),
    ("and its negation too", "NOT (a / 0 = 1)", {"a": 1}, U),
    ("a double divided by zero is infinite", "1.0 / 0 > 9e307 AND -1.0 / 0 < -9e307 AND 1 / -0.0 < 0", {}, T),
    ("zero divided by zero is NaN", "0.0 / 0 <> 0.0 / 0", {}, T),
    ("arithmetic with NULL is NULL", "a + 1 = 1", {}, U),
    ("a sign before NULL is NULL", "-a = 1", {}, U),
    ("a string in arithmetic compares false", "a + 1 > 0", {"a": "5"}, F),
    ("by every operator", "a + 1 <> 0", {"a": "5"}, F),
    ("a boolean is no number in arithmetic", "a + 1 = 2", {"a": True}, F),
    ("a sign is arithmetic", "+a = b", {"a": "x", "b": "x"}, F),
    ("NULL prevails over a string in arithmetic", "a + b > 0", {"a": "5"}, U),
    ("small integer types are integers", "a + b = 300 AND a / 7 = 14", {"a": values.Byte(100), "b": values.Short(200)}, T),
    # BETWEEN.
    ("BETWEEN includes its bounds", "a BETWEEN 5 AND 10 AND b BETWEEN -1 AND 1 AND c BETWEEN 0 and 2", {"a": 5, "b": 1, "c": 1}, T),
    ("BETWEEN is false outside", "a BETWEEN -4 AND 5 OR b BETWEEN -5 AND 4", {"a": -5, "b": 5}, F),
    ("NOT BETWEEN is true outside", "a NOT BETWEEN -4 AND 5 AND b NOT BETWEEN -5 AND 4", {"a": -5, "b": 5}, T),
    ("NOT BETWEEN is false inside", "a NOT BETWEEN 5 AND 10", {"a": 7}, F),
    ("bounds may be expressions", "a BETWEEN b - 1 AND b + 1", {"a": 5, "b": 6}, T),
    ("BETWEEN's AND is not the AND of conditions", "a BETWEEN 1 AND 3 AND b", {"a": 2, "b": False}, F),
    ("a string is in no range", "a BETWEEN 5 AND 10", {"a": "7"}, F),
    ("nor is it outside", "a NOT BETWEEN 5 AND 10", {"a": "7"}, F),
    ("NULL is unknown in a range", "a BETWEEN 5 AND 10", {}, U),
    ("and unknown outside", "a NOT BETWEEN 5 AND 10", {}, U),
    ("a NULL bound leaves what the other decides: false", "a BETWEEN b AND 3", {"a": 4}, F),
    ("a NULL bound leaves what the other decides: unknown", "a BETWEEN b AND 3", {"a": 2}, U),
    ("bounds the wrong way round hold nothing", "a BETWEEN 10 AND 5", {"a": 7}, F),
    # IN.
    ("IN finds one of its strings", "a IN ('UK', 'US', 'France')", {"a": "UK"}, T),
    ("IN is false for others", "a IN ('UK', 'US', 'France')", {"a": "Peru"}, F),
    ("NOT IN is false for one of its strings", "a NOT IN ('UK', 'US')", {"a": "UK"}, F),
    ("NOT IN is true for others", "a NOT IN ('UK', 'US')", {"a": "Peru"}, T),
    ("IN with one string", "a IN('x')", {"a": "x"}, T),
    ("IN is case sensitive", "a IN ('uk')", {"a": "UK"}, F),
    ("IN of NULL is unknown", "a IN ('UK')", {}, U),
    ("NOT IN of NULL is unknown", "a NOT IN ('UK')", {}, U),
    ("a number is in no list of strings", "a IN ('1')", {"a": 1}, F),
    ("nor selected by NOT IN", "a NOT IN ('foo', 'jms', 'test')", {"a": 1}, F),
    ("the word before IN may stand in parentheses", "(a) IN ('x')", {"a": "x"}, T),
    # LIKE.
    ("LIKE without special characters is equality", "a LIKE 'jms'", {"a": "jms"}, T),
    ("_ is one character", "a LIKE 'l_se'", {"a": "lose"}, T),
    ("_ is not two", "a LIKE 'l_se'", {"a": "loose"}, F),
    ("_ is not none", "a LIKE 'l_se'", {"a": "lse"}, F),
    ("% is any characters", "a LIKE '12%3'", {"a": "12993"}, T),
    ("% is no character too", "a LIKE '12%3'", {"a": "123"}, T),
    ("the rest must stand at the end", "a LIKE '12%3'", {"a": "1234"}, F),
    ("what stands before and after % may not overlap", "a LIKE 'aba%aba'", {"a": "aba"}, F),
    ("% at the beginning", "a LIKE '%cd'", {"a": "abcd"}, T),
    ("% at the end", "a LIKE '1%'", {"a": "1"}, T),
    ("% at both ends", "a LIKE '%bc%'", {"a": "abcd"}, T),
    ("% in the middle", "a LIKE 'AB%CD'", {"a": "ABxyzCD"}, T),
    ("% alone takes all, the empty string too", "a LIKE '%' AND b LIKE '%'", {"a": "x", "b": ""}, T),
    ("the empty pattern takes the empty string only", "a LIKE '' AND b NOT LIKE ''", {"a": "", "b": "x"}, T),
    ("several %", "a LIKE '%a%b%c%'", {"a": "xxaxxbxxcxx"}, T),
    ("several %, in order", "a LIKE '%a%b%c%'", {"a": "cba"}, F),
    ("what is found in the middle does not reach into the end", "a LIKE 'a%bb%b'", {"a": "axbb"}, F),
    ("what is found once is not found twice", "a LIKE '%aa%aa%'", {"a": "aaxa"}, F),
    ("a text that is shorter than its pattern", "a LIKE '_a%_b'", {"a": "x"}, F),
    ("a text that begins before it ends", "a LIKE 'ab%b_'", {"a": "abc"}, F),
    ("_ and % together", "a LIKE '%_b_%'", {"a": "xabc"}, T),
    ("_ and % together, too short", "a LIKE '%_b_%'", {"a": "bc"}, F),
    ("special characters take line ends", "a LIKE 'x_y%z'", {"a": "x\ny\n\nz"}, T),
    ("_ is one character beyond the 16-bit plane too", "a LIKE '_'", {"a": "🎈"}, T),
    ("characters of regular expressions are plain", "a LIKE '.*[a]+(b)?\\d$^|'", {"a": ".*[a]+(b)?\\d$^|"}, T),
    ("LIKE is case sensitive", "a LIKE 'ABC%'", {"a": "abcd"}, F),
    ("ESCAPE makes _ plain", "a LIKE '\\_%' ESCAPE '\\'", {"a": "_foo"}, T),
    ("ESCAPE makes _ plain and nothing else", "a LIKE '\\_%' ESCAPE '\\'", {"a": "bar"}, F),
    ("ESCAPE makes % plain", "a LIKE 'A_fo_A%f%' ESCAPE 'A'", {"a": "_foo%foo"}, T),
    ("the escape may escape itself", "a LIKE 'A\\\\B' ESCAPE '\\'", {"a": "A\\B"}, T),
    ("NOT LIKE with an escape", "a NOT LIKE 'A_A_' ESCAPE 'A'", {"a": "jms"}, T),
    ("the escape may be a quote", "a LIKE 'x''%' ESCAPE ''''", {"a": "x%"}, T),
    ("NOT LIKE is false where LIKE is true", "a NOT LIKE '12%3'", {"a": "12993"}, F),
    ("NOT LIKE is true where LIKE is false", "a NOT LIKE '12%3'", {"a": "1234"}, T),
    ("LIKE of NULL is unknown", "a LIKE '1_3'", {}, U),
    ("NOT LIKE of NULL is unknown", "a NOT LIKE '1_3'", {}, U),
    ("a number is like no pattern", "a LIKE '1_3'", {"a": 123}, F),
    ("nor selected by NOT LIKE", "a NOT LIKE '1_3'", {"a": 123}, F),
    # IS NULL.
    ("IS NULL of what is not there", "a IS NULL", {}, T),
    ("IS NULL of what is there", "a IS NULL", {"a": "x"}, F),
    ("IS NOT NULL of what is there", "a IS NOT NULL", {"a": 10.0}, T),
    ("IS NOT NULL of what is not there", "a IS NOT NULL", {}, F),
    ("a property that is null is NULL", "a IS NULL", {"a": None}, T),
    ("false, 0 and the empty string are not NULL", "a IS NOT NULL AND b IS NOT NULL AND c IS NOT NULL", {"a": False, "b": 0, "c": ""}, T),
    # NULL values.
    ("NULL compared with NULL is unknown", "a = b", {}, U),
    ("NULL is not unequal either", "a <> 'x'", {}, U),
    ("unknown turned round is unknown", "NOT (a = 1)", {}, U),
    # Extensions: types that JMS has not.
    ("decimals compare with exact literals", "a > 101 AND a < 102", {"a": Decimal("101.25")}, T),
    ("a decimal meets an approximate literal as the decimal that was written", "a = 0.1 AND a = 1e-1", {"a": Decimal("0.10")}, T),
    ("digits that a double could not hold count against a decimal", "a = 0.10000000000000000001", {"a": Decimal("0.1")}, F),
    ("a decimal meets a double as its shortest decimal", "a = b", {"a": Decimal("0.1"), "b": 0.1}, T),
    ("a negative literal keeps its decimal", "a = -0.1", {"a": Decimal("-0.1")}, T),
    ("decimals compute as decimals", "a + 0.2 = 0.3 AND a * 3 = 0.3", {"a": Decimal("0.1")}, T),
    ("decimals divide to 34 digits", "a / 3 = 0.3333333333333333333333333333333333", {"a": Decimal(1)}, T),
    ("a decimal divided by zero is unknown", "a / 0 = 1", {"a": Decimal(1)}, U),
    ("decimals in ranges", "a BETWEEN 100 AND 101.25", {"a": Decimal("101.25")}, T),
    ("a char is a string", "a = 'R' AND a IN ('R') AND a LIKE '_' AND a <> 'S'", {"a": values.Char("R")}, T),
    ("a char is a string for NOT IN and NOT LIKE", "a NOT IN ('S') AND a NOT LIKE 'S%'", {"a": values.Char("R")}, T),
    ("a char that is in the list or like the pattern", "a NOT IN ('R') OR a NOT LIKE 'R%'", {"a": values.Char("R")}, F),
    ("a decimal NaN is unequal to all", "a <> a AND a <> 1 AND a <> 1.5", {"a": Decimal("NaN")}, T),
    ("a decimal NaN has no order", "a < 1 OR a >= 1 OR a = a OR a BETWEEN 0. AND b", {"a": Decimal("sNaN"), "b": Decimal(1)}, F),
    ("times, bytes and vectors are there but like nothing", "a IS NOT NULL AND NOT (a = 'x') AND NOT (a > 0)", {"a": b"x"}, T),
    ("and equal nothing, themselves included", "a = a OR a <> a OR a IN ('x') OR a NOT LIKE 'x'", {"a": values.Vector([1])}, F),
    ("an unsigned 64-bit integer compares as it is", "a > 9223372036854775807", {"a": values.ULong(2**63)}, T),
]  # fmt: skip


@pytest.mark.parametrize(("selector", "row", "truth"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_clause(selector: str, row: dict[str, Any], truth: bool | None) -> None:
    compiled = Selector(selector)
    assert compiled.evaluate(row) is truth
    assert compiled.matches(row) is (truth is True)
    turned = Selector(f"NOT ({selector})")
    assert turned.evaluate(row) is (None if truth is None else not truth)
    assert turned.matches(row) is (truth is False)


TRUTHS = {"t": True, "f": False, "u": None}
AND = {"tt": T, "tf": F, "tu": U, "ft": F, "ff": F, "fu": F, "ut": U, "uf": F, "uu": U}
OR = {"tt": T, "tf": T, "tu": T, "ft": T, "ff": F, "fu": U, "ut": T, "uf": U, "uu": U}


@pytest.mark.parametrize(("word", "table"), [("AND", AND), ("OR", OR)])
@pytest.mark.parametrize("pair", AND)
def test_tables_3_4_and_3_5(word: str, table: dict[str, bool | None], pair: str) -> None:
    left, right = pair[0], pair[1]
    assert Selector(f"{left} {word} {right}").evaluate(TRUTHS) is table[pair]
    assert Selector(f"({left} {word} {right}) = TRUE").evaluate(TRUTHS) is table[pair], "the same as a value"
    turned = None if table[pair] is None else not table[pair]
    assert Selector(f"NOT ({left} {word} {right})").evaluate(TRUTHS) is turned
    assert Selector(f"(NOT ({left} {word} {right})) = TRUE").evaluate(TRUTHS) is turned


@pytest.mark.parametrize(("operand", "truth"), [("t", F), ("f", T), ("u", U)])
def test_table_3_6(operand: str, truth: bool | None) -> None:
    assert Selector(f"NOT {operand}").evaluate(TRUTHS) is truth


def test_the_spec_example_selects_what_it_describes() -> None:
    selector = Selector("JMSType = 'car' AND color = 'blue' AND weight > 2500")
    assert selector.matches({"JMSType": "car", "color": "blue", "weight": 2501})
    assert not selector.matches({"JMSType": "car", "color": "blue", "weight": 2500})
    assert not selector.matches({"JMSType": "car", "color": "blue"})
