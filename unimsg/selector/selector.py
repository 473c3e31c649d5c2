"""`Selector`: a text that was understood, and the functions that were made of it, each when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from unimsg.errors import InvalidSelectorError, MessageFormatError
from unimsg.message import Message, readable

if TYPE_CHECKING:
    from unimsg.driver import Route

__all__ = ["Selector", "compile_selector"]


class Program:
    """The functions of one selector; shared by all selectors of the same text."""

    def __init__(self, text: str) -> None:
        from unimsg.selector.parser import parse  # who has no selectors need not load the grammar

        self.tree, self.names = parse(text)

    def _function(self, view: Literal["MAPPING", "MESSAGE", "ROUTE"], unknown: bool = False) -> Any:
        from unimsg.selector import codegen

        return codegen.compile_tree(self.tree, getattr(codegen, view), unknown)

    @cached_property
    def evaluate(self) -> Callable[[Mapping[str, Any]], bool | None]:
        """Return True, False or None of a mapping."""
        return self._function("MAPPING", unknown=True)  # type: ignore[no-any-return]

    @cached_property
    def matches(self) -> Callable[[Mapping[str, Any]], bool]:
        """Return True or False of a mapping."""
        return self._function("MAPPING")  # type: ignore[no-any-return]

    @cached_property
    def route(self) -> Callable[[Any], bool]:
        """Return True or False of a route."""
        return self._function("ROUTE")  # type: ignore[no-any-return]

    @cached_property
    def message(self) -> Callable[[Any], bool]:
        """Return True or False of a message."""
        return self._function("MESSAGE")  # type: ignore[no-any-return]


program_of = lru_cache(maxsize=256)(Program)


class Selector:
    """Choose messages by a condition over their headers and properties: `Selector("price > 100 AND venue = 'LSE'")`.

    Immutable; equal, hashed and pickled by its text. The language is that of Jakarta Messaging 3.1 §3.8.
    """

    __slots__ = ("_program", "text")

    text: str

    def __init__(self, text: str) -> None:
        """Take a selector's text, at most 65,536 characters.

        Raises InvalidSelectorError, with `position` (in characters, from 0), for what is no selector and for what could
        be true of no message because of its types (`price > 'high'`).
        """
        if not isinstance(text, str):
            raise InvalidSelectorError(f"a selector is a text, not {text!r:.60}")
        text = str.__str__(text)
        object.__setattr__(self, "_program", program_of(text))
        object.__setattr__(self, "text", text)

    _program: Program

    @property
    def names(self) -> frozenset[str]:
        """Return the identifiers in it, headers and properties."""
        return self._program.names

    def evaluate(self, mapping: Mapping[str, Any]) -> bool | None:
        """Return True, False, or None for unknown, of a mapping of identifiers to values; absent is NULL, like None."""
        return self._program.evaluate(mapping)

    def matches(self, mapping: Mapping[str, Any]) -> bool:
        """Tell whether it is true of a mapping: neither false nor unknown (§3.8.1.1)."""
        return self._program.matches(mapping)

    def matches_route(self, route: Route) -> bool:
        """Tell whether it is true of the message that a route belongs to (for brokers)."""
        try:
            return self._program.route(route)
        except MessageFormatError:
            return self._program.route(route._replace(properties=readable(route.properties)))

    def matches_message(self, message: Message[Any]) -> bool:
        """Tell whether it is true of a message; properties are read only if it names one.

        A property that cannot be read (of a type that this version does not know) is NULL.
        """
        try:
            return self._program.message(message)
        except MessageFormatError:
            return self._program.message(Message.of(dict(message.head), readable(message.properties), None, None, None))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a selector is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a selector is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Selector) else NotImplemented

    def __hash__(self) -> int:
        return hash((Selector, self.text))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Selector({self.text!r})"

    def __reduce__(self) -> tuple[type[Selector], tuple[str]]:
        return type(self), (self.text,)


def compile_selector(text: str | Selector | None) -> Selector | None:
    """Return the selector of a text; None for None and for a blank text, which mean no selector (§3.8.1.1).

    Raises InvalidSelectorError.
    """
    if text is None or isinstance(text, Selector):
        return text
    blank = isinstance(text, str) and not text.strip(" \t\f\r\n")
    return None if blank else Selector(text)
