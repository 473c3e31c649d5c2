"""From a tree to one Python function, by generating its source.

Every node has three forms. As a test it is an expression that is true when the node is TRUE (`when_true`), or when it
is FALSE (`when_false`): plain two-valued Python that stops as soon as it knows, and in which NOT costs nothing, since
it only asks the operand the other question. As a value (`value`) it is a number, a string or a truth of three values.
A selector matches when its `when_true` is; it is unknown when neither is. What the source holds is fixed text and
the names of constants: no character of the selector is ever in it.

The same tree serves three views of a message, which differ in how an identifier is looked up and in nothing else.
Closures were measured against this on `price > 100 AND venue = 'LSE'`: they take twice as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from unimsg.selector import runtime
from unimsg.selector.like import matcher
from unimsg.selector.tree import Approximate, Between, Chain, Comparison, In, IsNull, Like, Literal, Logic, Name, Node, Not, Sign

__all__ = ["MAPPING", "MESSAGE", "ROUTE", "View", "compile_tree"]

_MIRROR = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_PYTHON = {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_HELPERS = {"=": "eq", "<>": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


class View(NamedTuple):
    """Where identifiers are found: `headers` gives expressions over `m` (and `head`), all others are in `properties`."""

    properties: str
    headers: dict[str, str]
    head: str = ""


MAPPING = View("m.get", {})
"""Any mapping of identifiers to values."""

ROUTE = View(
    "m.properties.get",
    {
        "JMSDeliveryMode": "('PERSISTENT' if m.persistent else 'NON_PERSISTENT')",
        "JMSPriority": "m.priority",
        "JMSMessageID": "m.message_id",
        "JMSTimestamp": "milliseconds(m.timestamp)",
        "JMSCorrelationID": "m.correlation_id",
        "JMSType": "m.type",
        "JMSXGroupID": "m.group",
        "JMSXGroupSeq": "m.group_seq",
    },
)
"""A `unimsg.driver.Route`."""

MESSAGE = View(
    "m.properties.get",
    {
        "JMSDeliveryMode": "('NON_PERSISTENT' if head('delivery-mode') == 'non-persistent' else 'PERSISTENT')",
        "JMSPriority": "head('priority', 4)",
        "JMSMessageID": "head('id')",
        "JMSTimestamp": "milliseconds_of(head('timestamp'))",
        "JMSCorrelationID": "head('correlation-id')",
        "JMSType": "head('type')",
        "JMSXGroupID": "head('group-id')",
        "JMSXGroupSeq": "head('group-seq')",
    },
    "m.head.get",
)
"""A `unimsg.Message`, or anything with `head` (the names of `unimsg.headers.HEADERS`) and `properties`."""


def milliseconds(timestamp: float | None) -> int | None:
    """Return seconds since the epoch as whole milliseconds; the microseconds that a float carries are cut, not rounded."""
    return None if timestamp is None else round(timestamp * 1e6) // 1000


def milliseconds_of(timestamp: Any) -> int | None:
    """Return an aware datetime as whole milliseconds since the epoch (JMS 3.1 §3.4.4)."""
    from datetime import UTC, datetime, timedelta

    return None if timestamp is None else (timestamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


_NAMESPACE: dict[str, Any] = {
    "__builtins__": {},
    **{name: runtime.COMPARE[symbol] for symbol, name in _HELPERS.items()},
    **{name: getattr(runtime, name) for name in ("both", "chain", "either", "opposite", "sign", "text_test")},
    **{kind.__name__: kind for kind in (type, int, float, str)},
    "milliseconds": milliseconds,
    "milliseconds_of": milliseconds_of,
}


def compile_tree(tree: Node, view: View, unknown: bool) -> Callable[[Any], Any]:
    """Return the function of a message that tells True from not True; with `unknown`, True, False and None."""
    generator = Generator(view)
    body = [f"    if {generator.when_true(tree)}: return True"]
    if unknown:
        body += [f"    if {generator.when_false(tree)}: return False", "    return None"]
    else:
        body.append("    return False")
    setup = [f"    get = {view.properties}"] if generator.uses_properties else []
    setup += [f"    head = {view.head}"] if generator.uses_head else []
    source = "\n".join(["def evaluate(m):", *setup, *body])
    namespace = _NAMESPACE | generator.constants
    exec(compile(source, "<selector>", "exec"), namespace)  # noqa: S102 - fixed text and names of constants only
    evaluate: Callable[[Any], Any] = namespace["evaluate"]
    return evaluate


class Generator:
    """Writes the source of one function, and keeps its constants."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.constants: dict[str, Any] = {}
        self.loads = 0
        self.uses_properties = False
        self.uses_head = False

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def load(self, node: Name) -> str:
        """Return the expression that looks an identifier up."""
        header = self.view.headers.get(node.name)
        if header is not None:
            self.uses_head |= "head(" in header
            return header
        self.uses_properties = True
        return f"get({self.constant(node.name)})"

    def variable(self) -> str:
        """Return a new name for a value that is looked at more than once."""
        self.loads += 1
        return f"a{self.loads}"

    def when_true(self, node: Node) -> str:
        """Return the expression that is true when the node is TRUE, and false when it is FALSE or unknown."""
        if isinstance(node, Logic):
            return "(" + (" and " if node.word == "AND" else " or ").join(map(self.when_true, node.parts)) + ")"
        if isinstance(node, Not):
            return self.when_false(node.operand)
        if isinstance(node, Name):
            return f"{self.load(node)} is True"
        if isinstance(node, Literal):
            return "True" if node.value is True else "False"
        if isinstance(node, Comparison):
            return self.compared(node)
        if isinstance(node, Between):
            return self.when_true(_spelt(node))
        if isinstance(node, IsNull):
            return f"{self.load(node.name)} is {'not ' if node.negated else ''}None"
        if isinstance(node, In | Like):
            variable = self.variable()
            return self.text_test(node, variable, f"({variable} := {self.load(node.name)})")
        raise AssertionError(node)  # pragma: no cover - the parser has judged the types

    def when_false(self, node: Node) -> str:
        """Return the expression that is true when the node is FALSE, and false when it is TRUE or unknown."""
        if isinstance(node, Logic):
            return "(" + (" or " if node.word == "AND" else " and ").join(map(self.when_false, node.parts)) + ")"
        if isinstance(node, Not):
            return self.when_true(node.operand)
        if isinstance(node, Name):
            return f"{self.load(node)} is False"
        if isinstance(node, Literal):
            return "True" if node.value is False else "False"
        if isinstance(node, Comparison):
            return f"({self.value(node)} is False)"
        if isinstance(node, Between):
            return self.when_false(_spelt(node))
        if isinstance(node, IsNull):
            return self.when_true(IsNull(node.name, not node.negated))
        if isinstance(node, In | Like):
            variable = self.variable()
            test = self.text_test(node, variable, variable)
            return f"(({variable} := {self.load(node.name)}) is not None and not {test})"
        raise AssertionError(node)  # pragma: no cover - the parser has judged the types

    def value(self, node: Node) -> str:
        """Return the expression of the node's value: a number, a string, None for NULL, or a truth of three values."""
        if isinstance(node, Name):
            return self.load(node)
        if isinstance(node, Literal):
            return self.constant(node.value)
        if isinstance(node, Sign):
            return f"sign({self.value(node.operand)}, {node.negative})"
        if isinstance(node, Chain):
            signs = self.constant("".join(symbol for symbol, _ in node.rest))
            operands = "".join(f"{self.value(operand)}, " for _, operand in node.rest)
            return f"chain({self.value(node.first)}, {signs}, ({operands}))"
        if isinstance(node, Comparison):
            return f"{_HELPERS[node.operator]}({self.value(node.left)}, {self.value(node.right)})"
        if isinstance(node, Not):
            return f"opposite({self.value(node.operand)})"
        if isinstance(node, Logic):
            return f"{'both' if node.word == 'AND' else 'either'}({', '.join(self.value(part) for part in node.parts)})"
        # What remains holds no condition inside, so that writing it twice does not double at every level.
        return f"(True if {self.when_true(node)} else False if {self.when_false(node)} else None)"

    def compared(self, node: Comparison) -> str:
        """Compare; an identifier with a literal, the commonest by far, without a call when the type is the usual one."""
        sign, left, right = node
        if isinstance(left, Literal) and isinstance(right, Name):
            sign, left, right = _MIRROR[sign], right, left
        if not isinstance(left, Name) or not isinstance(right, Literal):
            return self.value(node)
        value = right.value
        if isinstance(value, bool):
            return f"{self.load(left)} is {value is (sign == '=')}"
        constant, variable = self.constant(value), self.variable()
        asked = f"({variable} := {self.load(left)})"
        if isinstance(value, str):
            usual = f"type({asked}) is str"
        elif isinstance(value, Approximate):
            usual = f"type({asked}) is float"
        else:
            # A long that a double holds exactly meets doubles without being converted first.
            usual = f"(t := type({asked})) is int" + (" or t is float" if abs(value) <= 2**53 else "")
        return f"({variable} {_PYTHON[sign]} {constant} if {usual} else {_HELPERS[sign]}({variable}, {constant}))"

    def text_test(self, node: In | Like, variable: str, asked: str) -> str:
        """Test a string; `asked` is the variable, or what assigns it."""
        test = self.constant(node.choices.__contains__ if isinstance(node, In) else matcher(node.pattern))
        turned = "not " if node.negated else ""
        return f"({turned}{test}({variable}) if type({asked}) is str else text_test({variable}, {test}, {node.negated}))"


def _spelt(node: Between) -> Node:
    """Return the two comparisons that the specification says BETWEEN is."""
    if node.negated:
        return Logic("OR", (Comparison("<", node.operand, node.low), Comparison(">", node.operand, node.high)))
    return Logic("AND", (Comparison(">=", node.operand, node.low), Comparison("<=", node.operand, node.high)))
