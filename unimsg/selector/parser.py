"""The grammar of selectors: words to a tree, with every type that can be judged without a message judged at once.

    selector   = condition
    condition  = conjunction { OR conjunction }
    conjunction= negation { AND negation }
    negation   = { NOT } predicate
    predicate  = sum [ ("=" | "<>" | "<" | "<=" | ">" | ">=") sum
                     | [NOT] BETWEEN sum AND sum
                     | [NOT] IN "(" string { "," string } ")"
                     | [NOT] LIKE string [ ESCAPE string ]
                     | IS [NOT] NULL ]
    sum        = product { ("+" | "-") product }
    product    = signed { ("*" | "/") signed }
    signed     = { "+" | "-" } primary
    primary    = literal | identifier | "(" condition ")"

Comparisons do not chain. IN, LIKE and IS take an identifier on their left. Source: JMS 3.1 §3.8.1.1, and what its
compatibility kit demands (`p > 'foo'`, `TRUE = 0`, `p NOT IN (1, 2)` … are refused when presented).
"""

from __future__ import annotations

from typing import Any

from unimsg.errors import InvalidSelectorError
from unimsg.selector.lexer import Token, fail, tokens_of
from unimsg.selector.tree import Approximate, Between, Chain, Comparison, In, IsNull, Kind, Like, Literal, Logic, Name, Node, Not, Sign, kind_of

__all__ = ["HEADERS", "MAX_NESTING", "MAX_OPERATORS", "parse"]

MAX_NESTING = 32
"""Parentheses that may be open at once: each takes up to 14 frames of Python's stack here, of a thousand, and up to 5
parentheses of the 200 that Python takes in the source that is generated."""

MAX_OPERATORS = 4096
"""Operators that a selector may have (an IN is one, however long)."""

HEADERS = ("JMSDeliveryMode", "JMSPriority", "JMSMessageID", "JMSTimestamp", "JMSCorrelationID", "JMSType")
"""The headers that a selector may name; all other names that start with JMS are JMSX… and JMS_… properties."""

_LONG = 2**63
_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_WORDS: dict[Kind, str] = {"condition": "a boolean", "number": "a number", "string": "a string", "any": "an identifier"}


def parse(text: str) -> tuple[Node, frozenset[str]]:
    """Return the tree of a selector and the identifiers in it. Raises InvalidSelectorError with the position."""
    parser = Parser(text)
    start = parser.token.position
    if parser.token.kind == "end":
        raise fail(text, start, "it is empty; no selector is None")
    tree = parser.condition()
    if parser.token.kind != "end":
        raise parser.unexpected("the selector could end or go on with AND or OR")
    parser.want(tree, "condition", start, "a selector is a condition")
    return tree, frozenset(parser.names)


class Parser:
    """One pass over the words of one text; each method reads one rule of the grammar above."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens_of(text)
        self.place = 0
        self.token = self.tokens[0]
        self.names: set[str] = set()
        self.depth = 0
        self.operators = 0

    def next(self) -> Token:
        """Return the present word and go on to the next."""
        token = self.token
        self.place += 1
        self.token = self.tokens[min(self.place, len(self.tokens) - 1)]
        return token

    def operator(self) -> str:
        """Return the present word, an operator, count it and go on."""
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            raise fail(self.text, self.token.position, f"it has more than {MAX_OPERATORS} operators; use IN for long lists")
        return self.next().kind

    def take(self, kind: str, after: str) -> Token:
        """Return the present word if it is of this kind, and go on."""
        if self.token.kind != kind:
            raise self.unexpected(f"{after} {'a string in single quotes' if kind == 'string' else kind} was expected")
        return self.next()

    def unexpected(self, expected: str) -> InvalidSelectorError:
        """Return the error for the present word."""
        token = self.token
        if token.kind == "end":
            return fail(self.text, token.position, f"it ends where {expected}")
        shown = self.text[token.position : token.end]
        return fail(self.text, token.position, f"where {expected}, there is {shown if len(shown) <= 40 else shown[:40] + '…'}")

    def want(self, node: Node, kind: Kind, position: int, why: str) -> None:
        """Refuse a node whose type is known to be another one."""
        found = kind_of(node)
        if found not in (kind, "any"):
            raise fail(self.text, position, f"{why}, and this is {_WORDS[found]}")

    def condition(self) -> Node:
        """Read conditions joined by OR."""
        return self.logic("OR", self.conjunction)

    def conjunction(self) -> Node:
        """Read conditions joined by AND."""
        return self.logic("AND", self.negation)

    def logic(self, word: str, read: Any) -> Node:
        """Read what `read` reads, joined by a word."""
        start = self.token.position
        first: Node = read()
        if self.token.kind != word:
            return first
        why = f"{word} joins conditions"
        self.want(first, "condition", start, why)
        parts = [first]
        while self.token.kind == word:
            self.operator()
            start = self.token.position
            parts.append(read())
            self.want(parts[-1], "condition", start, why)
        return Logic(word, tuple(parts))

    def negation(self) -> Node:
        """Read a predicate behind any number of NOTs; two of them are none, in three-valued logic too."""
        count = 0
        while self.token.kind == "NOT":
            self.operator()
            count += 1
        start = self.token.position
        node = self.predicate()
        if not count:
            return node
        self.want(node, "condition", start, "NOT turns a condition round")
        return Not(node if count % 2 else Not(node))

    def predicate(self) -> Node:
        """Read a value and, if there is one, what is asked of it."""
        start = self.token.position
        left = self.sum()
        token = self.token
        if token.kind in _COMPARISONS:
            node = self.comparison(left, start)
        elif token.kind in ("NOT", "BETWEEN", "IN", "LIKE"):
            node = self.test(left, start)
        elif token.kind == "IS":
            self.operator()
            negated = self.token.kind == "NOT" and bool(self.next())
            self.take("NULL", "after IS NOT" if negated else "after IS")
            node = IsNull(self.identifier(left, start, "IS NULL"), negated)
        else:
            return left
        if self.token.kind in _COMPARISONS or self.token.kind in ("IS", "BETWEEN", "IN", "LIKE", "NOT"):
            raise self.unexpected("a comparison has ended (they do not chain: join them with AND, or use parentheses)")
        return node

    def comparison(self, left: Node, start: int) -> Node:
        """Read the rest of a comparison: numbers by all six operators, strings and booleans by = and <> (§3.8.1.1)."""
        place = self.token.position
        sign = self.operator()
        begin = self.token.position
        right = self.sum()
        kinds = {kind_of(left), kind_of(right)} - {"any"}
        if len(kinds) == 2:
            raise fail(self.text, place, f"{_WORDS[kind_of(left)]} and {_WORDS[kind_of(right)]} cannot be compared")
        if sign not in ("=", "<>"):
            self.want(left, "number", start, f"{sign} compares numbers; strings and booleans have = and <> only")
            self.want(right, "number", begin, f"{sign} compares numbers; strings and booleans have = and <> only")
        return Comparison(sign, left, right)

    def test(self, left: Node, start: int) -> Node:
        """Read the rest of a [NOT] BETWEEN, IN or LIKE."""
        negated = self.token.kind == "NOT" and bool(self.next())
        if self.token.kind not in ("BETWEEN", "IN", "LIKE"):
            raise self.unexpected("after a value and NOT, one of BETWEEN, IN and LIKE was expected")
        word = self.operator()
        if word == "BETWEEN":
            bounds = []
            self.want(left, "number", start, "BETWEEN compares numbers")
            for number in range(2):
                if number:
                    self.take("AND", "after the lower bound of BETWEEN")
                begin = self.token.position
                bounds.append(self.sum())
                self.want(bounds[-1], "number", begin, "BETWEEN compares numbers")
            return Between(left, bounds[0], bounds[1], negated)
        name = self.identifier(left, start, word)
        return self.choices(name, negated) if word == "IN" else self.pattern(name, negated)

    def identifier(self, node: Node, start: int, word: str) -> Name:
        """Return a node that must be an identifier."""
        if not isinstance(node, Name):
            raise fail(self.text, start, f"{word} asks about an identifier, and this is {_WORDS[kind_of(node)]}")
        return node

    def choices(self, name: Name, negated: bool) -> Node:
        """Read the list of strings of an IN."""
        self.take("(", "after IN")
        choices = [str(self.take("string", "in the list of IN").value)]
        while self.token.kind == ",":
            self.next()
            choices.append(str(self.take("string", "in the list of IN").value))
        self.take(")", "after a string in the list of IN , or")
        return In(name, frozenset(choices), negated)

    def pattern(self, name: Name, negated: bool) -> Node:
        """Read the pattern of a LIKE: `_` is one character, `%` any number of them, the escape makes either plain."""
        token = self.take("string", "after LIKE")
        escape = None
        if self.token.kind == "ESCAPE":
            self.next()
            taken = self.take("string", "after ESCAPE")
            escape = str(taken.value)
            if len(escape) != 1:
                raise fail(self.text, taken.position, f"ESCAPE takes one character, not {len(escape)}")
        pattern: list[Any] = []
        characters = iter(str(token.value))
        for character in characters:
            if character == escape:
                escaped = next(characters, None)
                if escaped is None or escaped not in ("_", "%", escape):
                    found = "stands at the end" if escaped is None else f"stands before {escaped!r}"
                    raise fail(self.text, token.position, f"in this pattern the escape {escape!r} {found}; it may stand before _, % and itself")
                pattern.append(escaped)
            else:
                pattern.append({"_": None, "%": ...}.get(character, character))
        return Like(name, tuple(pattern), negated)

    def sum(self) -> Node:
        """Read products joined by + and -."""
        return self.chain(("+", "-"), self.product)

    def product(self) -> Node:
        """Read signed values joined by * and /."""
        return self.chain(("*", "/"), self.signed)

    def chain(self, signs: tuple[str, str], read: Any) -> Node:
        """Read what `read` reads, joined by one of two operators, from left to right."""
        start = self.token.position
        first: Node = read()
        if self.token.kind not in signs:
            return first
        self.want(first, "number", start, f"{self.token.kind} computes with numbers")
        rest = []
        while self.token.kind in signs:
            sign = self.operator()
            start = self.token.position
            operand = read()
            self.want(operand, "number", start, f"{sign} computes with numbers")
            rest.append((sign, operand))
        return Chain(first, tuple(rest))

    def signed(self) -> Node:
        """Read a value behind any number of signs; that of a literal becomes part of it."""
        negative, last, start = False, "", self.token.position
        while self.token.kind in ("+", "-"):
            last = self.operator()
            negative ^= last == "-"
            start = self.token.position
        # Java's smallest long is written with a minus right before it, and only so (JLS §3.10.1).
        node = self.primary(largest=_LONG if last == "-" else _LONG - 1)
        if not last:
            return node
        self.want(node, "number", start, "a sign stands before a number")
        if not isinstance(node, Literal):
            return Sign(negative, node)
        value = node.value
        if isinstance(value, Approximate):
            return Literal(Approximate(-value, value.exact.copy_negate()) if negative else value)
        number = int(value)
        return Literal(-_LONG if abs(number) == _LONG else -number if negative else number)

    def primary(self, largest: int) -> Node:
        """Read a literal, an identifier, or a condition in parentheses."""
        token = self.token
        if token.kind == "(":
            return self.parenthesis()
        if token.kind in ("number", "string", "boolean"):
            if type(token.value) is int and token.value > largest:
                raise fail(self.text, token.position, "an integer has 64 bits: -9223372036854775808 to 9223372036854775807")
            return Literal(self.next().value)
        if token.kind == "name":
            return self.name()
        if token.kind == "NULL":
            raise fail(self.text, token.position, "NULL is no value to compare with: write IS NULL or IS NOT NULL")
        raise self.unexpected("a value was expected (an identifier, a number, a 'string', TRUE or FALSE)")

    def parenthesis(self) -> Node:
        """Read a condition or value in parentheses."""
        opened = self.next()
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise fail(self.text, opened.position, f"more than {MAX_NESTING} parentheses are open here")
        node = self.condition()
        if self.token.kind != ")":
            raise self.unexpected(f"the parenthesis of character {opened.position} should be closed")
        self.next()
        self.depth -= 1
        return node

    def name(self) -> Node:
        """Read an identifier; of JMS's own names only those that a selector may use."""
        token = self.next()
        name = str(token.value)
        if name.startswith("JMS") and name not in HEADERS and not name.startswith(("JMSX", "JMS_")):
            raise fail(self.text, token.position, f"{name[:60]} cannot be selected on; of the headers these can: {', '.join(HEADERS)}")
        self.names.add(name)
        return Name(name)
