"""The nodes that a selector is parsed to, and what can be known of a node's type before there is a message.

Chains are flat (`a AND b AND c` is one node, `a + b - c` too), so a tree is only as deep as its parentheses.
"""

from __future__ import annotations

from decimal import Decimal
from types import EllipsisType
from typing import Literal as Choice
from typing import NamedTuple, TypeAlias

__all__ = [
    "Approximate",
    "Between",
    "Chain",
    "Comparison",
    "In",
    "IsNull",
    "Kind",
    "Like",
    "Literal",
    "Logic",
    "Name",
    "Node",
    "Not",
    "Sign",
    "kind_of",
]

Kind: TypeAlias = Choice["condition", "number", "string", "any"]
"""`any` is an identifier, whose type only the message knows."""


class Approximate(float):
    """An approximate literal: the double that it is, and the decimal number that it was written as."""

    __slots__ = ("exact",)
    exact: Decimal

    def __new__(cls, value: float, exact: Decimal) -> Approximate:
        """Take the double and the decimal."""
        literal = super().__new__(cls, value)
        literal.exact = exact
        return literal


class Literal(NamedTuple):
    """A value written in the selector: bool, int, Approximate or str."""

    value: bool | int | Approximate | str


class Name(NamedTuple):
    """An identifier: a header or a property."""

    name: str


class Sign(NamedTuple):
    """A unary + or -."""

    negative: bool
    operand: Node


class Chain(NamedTuple):
    """Terms joined by + and -, or factors joined by * and /, from left to right."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


class Comparison(NamedTuple):
    """Two values compared by =, <>, <, <=, > or >=."""

    operator: str
    left: Node
    right: Node


class Between(NamedTuple):
    """A number within two bounds, both included; or outside."""

    operand: Node
    low: Node
    high: Node
    negated: bool


class In(NamedTuple):
    """A string that is one of some; or none of them."""

    name: Name
    choices: frozenset[str]
    negated: bool


class Like(NamedTuple):
    """A string of a pattern; or not. `pattern` holds characters, and None for `_` and Ellipsis for `%`."""

    name: Name
    pattern: tuple[str | EllipsisType | None, ...]
    negated: bool


class IsNull(NamedTuple):
    """A header or property that is not there; or is."""

    name: Name
    negated: bool


class Not(NamedTuple):
    """A condition turned round."""

    operand: Node


class Logic(NamedTuple):
    """Two or more conditions joined by AND, or by OR."""

    word: str
    parts: tuple[Node, ...]


Node: TypeAlias = Literal | Name | Sign | Chain | Comparison | Between | In | Like | IsNull | Not | Logic


def kind_of(node: Node) -> Kind:
    """Return the type that a node has whatever the message."""
    if isinstance(node, Name):
        return "any"
    if isinstance(node, Sign | Chain):
        return "number"
    if isinstance(node, Literal):
        if isinstance(node.value, str):
            return "string"
        return "condition" if isinstance(node.value, bool) else "number"
    return "condition"
