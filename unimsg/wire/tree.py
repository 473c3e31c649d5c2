"""An element of a parsed stanza, and its canonical text: Exclusive C14N of what the format keeps.

Names are `uri}local`, or `local` without a namespace: Clark's notation less its first brace, which is what expat gives.
"""

from __future__ import annotations

from collections.abc import Iterator

from unimsg.wire.escape import xml_attribute, xml_text

__all__ = ["Node", "canonical"]

XML = "http://www.w3.org/XML/1998/namespace"


class Node:
    """An element: its name, its attributes, and its texts and elements in order; `at` is its byte where it is known."""

    __slots__ = ("at", "attrs", "kids", "tag")

    def __init__(self, tag: str, attrs: dict[str, str], at: int | None = None) -> None:
        self.tag = tag
        self.attrs = attrs
        self.kids: list[Node | str] = []
        self.at = at

    @property
    def text(self) -> str:
        """Return the text that stands directly in it."""
        kids = self.kids
        if len(kids) == 1 and type(kids[0]) is str:
            return kids[0]
        return "".join([kid for kid in kids if type(kid) is str])

    @property
    def nodes(self) -> Iterator[Node]:
        """Give the elements that stand directly in it."""
        return (kid for kid in self.kids if type(kid) is Node)


def split(name: str) -> tuple[str, str]:
    """Return the namespace and the local part of a name."""
    uri, _, local = name.rpartition("}")
    return uri, local


def canonical(node: Node, inherited: str = "") -> str:
    """Return the canonical text of an element that stands where `inherited` is the default namespace.

    Elements get default namespaces. Only attributes need prefixes: `ns1`, `ns2` … in the order in which their namespaces
    appear (within one element by URI), so that whatever prefixes it came with, the text is the same.
    """
    parts: list[str] = []
    _write(node, inherited, frozenset(), {}, parts)
    return "".join(parts)


def _write(node: Node, inherited: str, declared: frozenset[str], prefixes: dict[str, str], parts: list[str]) -> None:
    uri, local = split(node.tag)
    if uri == XML:
        local, uri = f"xml:{local}", inherited
    head = [f"<{local}"]
    if uri != inherited:
        head.append(f' xmlns="{xml_attribute(uri)}"')
    plain: list[str] = []
    named: list[tuple[str, str, str]] = []
    for name, value in node.attrs.items():
        if "}" in name:
            named.append((*split(name), value))
        else:
            plain.append(f' {name}="{xml_attribute(value)}"')
    if len(plain) > 1:
        plain = [f' {name}="{xml_attribute(node.attrs[name])}"' for name in sorted(name for name in node.attrs if "}" not in name)]
    if named:
        named.sort()
        new = sorted({space for space, _, _ in named if space != XML and space not in declared})
        for space in new:
            prefixes.setdefault(space, f"ns{len(prefixes) + 1}")
        # Exclusive C14N orders declarations by prefix, as text.
        head += [f' xmlns:{prefix}="{xml_attribute(space)}"' for prefix, space in sorted((prefixes[space], space) for space in new)]
        plain += [f' {"xml" if space == XML else prefixes[space]}:{name}="{xml_attribute(value)}"' for space, name, value in named]
        declared |= frozenset(new)
    parts += head
    parts += plain
    parts.append(">")
    for kid in node.kids:
        if type(kid) is Node:
            _write(kid, uri, declared, prefixes, parts)
        else:
            parts.append(xml_text(kid))  # type: ignore[arg-type]  # mypy does not narrow by `type() is`
    parts.append(f"</{local}>")
