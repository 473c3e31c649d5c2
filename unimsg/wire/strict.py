"""The judge: any bytes to a tree, by expat, with everything refused that XML has and the wire format has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn
from xml.parsers import expat

from unimsg.errors import WireFormatError
from unimsg.wire.escape import pattern
from unimsg.wire.limits import MAX_DEPTH, MAX_ELEMENTS, MAX_STANZA
from unimsg.wire.tree import Node

__all__ = ["parse", "tree_of"]

_ENVELOPE = "}envelope"
DEEP = f"elements are nested more than {MAX_DEPTH} deep"
_LOCAL = r"""[^\W\d][^\s<>&"'=/:;,!?()\[\]{}|@#$%^*+~`\\]*"""
_ILLEGAL = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
MANY = f"there are more than {MAX_ELEMENTS} elements"


def parse(data: bytes) -> Node:
    """Return the root element of a document. Raises WireFormatError with the position in bytes."""
    if len(data) > MAX_STANZA:
        raise WireFormatError(f"it has {len(data)} bytes; a stanza has at most {MAX_STANZA}")
    if data.startswith(b"\xef\xbb\xbf"):
        raise WireFormatError("it starts with a byte order mark, which a stanza has not", 0)
    # Expat guesses UTF-16 from a byte order mark or from zeros, whatever encoding it was told.
    if b"\0" in data:
        raise WireFormatError("a NUL, which XML cannot carry (or it is not UTF-8)", data.index(b"\0"))
    try:
        str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise WireFormatError(f"it is not UTF-8: {error.reason}", error.start) from None
    parser = expat.ParserCreate("utf-8", "}")
    parser.buffer_text = True
    root = Node("", {})
    stack = [root]
    count = 0
    depth = MAX_DEPTH + 1

    def refuse(what: str) -> Callable[..., NoReturn]:
        def handler(*_: Any) -> NoReturn:
            raise WireFormatError(what, parser.CurrentByteIndex)

        return handler

    def start(tag: str, attrs: dict[str, str]) -> None:
        nonlocal count, depth
        if not count and tag.endswith(_ENVELOPE):
            depth -= 1  # a bare envelope may be as deep as one in its stanza
        node = Node(tag, attrs, parser.CurrentByteIndex)
        stack[-1].kids.append(node)
        stack.append(node)
        count += 1
        if len(stack) > depth:
            raise WireFormatError(DEEP, parser.CurrentByteIndex)
        if count > MAX_ELEMENTS:
            raise WireFormatError(MANY, parser.CurrentByteIndex)

    def end(_: str) -> None:
        stack.pop()

    def text(characters: str) -> None:
        stack[-1].kids.append(characters)

    def declaration(version: str, encoding: str | None, _: int) -> None:
        if version != "1.0":
            raise WireFormatError(f"it is XML {version[:20]!r}; a stanza is XML 1.0", parser.CurrentByteIndex)
        if encoding is not None and encoding.lower() != "utf-8":
            raise WireFormatError(f"it declares the encoding {encoding[:40]!r}; a stanza is UTF-8", parser.CurrentByteIndex)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.XmlDeclHandler = declaration
    parser.StartDoctypeDeclHandler = refuse("a document type declaration, which a stanza has not")
    parser.CommentHandler = refuse("a comment, which a stanza has not")
    parser.ProcessingInstructionHandler = refuse("a processing instruction, which a stanza has not")
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise WireFormatError(f"it is no well-formed XML: {expat.ErrorString(error.code)}", max(0, parser.ErrorByteIndex)) from None
    finally:
        # The handlers hold the parser and the parser holds them: without this, every stanza leaves work to the collector.
        parser.StartElementHandler = parser.EndElementHandler = parser.CharacterDataHandler = parser.XmlDeclHandler = None
        parser.StartDoctypeDeclHandler = parser.CommentHandler = parser.ProcessingInstructionHandler = None
    return root.kids[0]  # type: ignore[return-value]  # a well-formed document has one root element


def tree_of(element: Any) -> Node:
    """Return the tree of an element that somebody else parsed (`.tag`, `.attrib`, `.text`, `.tail`, children).

    Raises WireFormatError for what `parse` would refuse, as far as it can still be seen.
    """
    root = Node("", {})
    todo: list[tuple[Any, Node, int]] = [(element, root, 2 if isinstance(element.tag, str) and element.tag.endswith(_ENVELOPE) else 1)]
    count = 0
    while todo:
        source, parent, level = todo.pop()
        count += 1
        if level > MAX_DEPTH:
            raise WireFormatError(DEEP)
        if count > MAX_ELEMENTS:
            raise WireFormatError(MANY)
        if not isinstance(source.tag, str):
            raise WireFormatError("a comment or a processing instruction, which a stanza has not")
        node = Node(_name(source.tag), {_name(name): _legal(value) for name, value in source.attrib.items()})
        parent.kids.append(node)
        if source is not element and source.tail:
            parent.kids.append(_legal(source.tail))
        if source.text:
            node.kids.append(_legal(source.text))
        if len(source) + count > MAX_ELEMENTS:
            raise WireFormatError(MANY)
        todo += [(child, node, level + 1) for child in reversed(list(source))]
    return root.kids[0]  # type: ignore[return-value]


def _name(clark: str) -> str:
    """Return `{uri}local` as our trees have it. What a parser gave is a name; what a program made may be anything."""
    name = clark.removeprefix("{")
    uri, _, local = name.rpartition("}")
    if not pattern(_LOCAL).fullmatch(local):
        raise WireFormatError(f"{local[:60]!r} is no name of an element or attribute")
    if uri:
        _legal(uri)
    return name


def _legal(text: str) -> str:
    if not text.isprintable() and (found := pattern(_ILLEGAL).search(text)):
        raise WireFormatError(f"the character U+{ord(found[0]):04X}, which XML cannot carry")
    return text
