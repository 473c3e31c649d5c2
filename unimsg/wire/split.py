"""Canonical bytes of any shape: the text is cut at its tags, without a parser and without code of its own.

Whatever is not plainly canonical and flat (escapes in attributes, nesting, vectors, base64 texts, unknown names) gives
None, and the judge decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from unimsg.bodies import Field, Fields
from unimsg.errors import UnimsgError
from unimsg.headers import HEADERS
from unimsg.message import ReceivedMessage
from unimsg.wire.escape import unescape
from unimsg.wire.head import READ
from unimsg.wire.judge import TREES, envelope_of
from unimsg.wire.lexical import READERS
from unimsg.wire.limits import MAX_ELEMENTS, MAX_TEXT, PREFIX, SUFFIX
from unimsg.wire.shape import ATTRIBUTE, HEADS, Row, Shape, entities_right

__all__ = ["shape_of", "split"]

_ATTRIBUTE = '[^"<&\\\\\\x00-\\x1f\ufffe\uffff]*'
_NAMES = tuple(name for name in HEADERS if name in HEADS)
_FORMS = {name: _ATTRIBUTE if HEADS[name].pattern is ATTRIBUTE else HEADS[name].pattern for name in _NAMES}
_HEAD = re.compile(re.escape(PREFIX) + "".join(f'(?: {name}="({form})")?' for name, form in _FORMS.items()) + ">")
_READ = tuple((name, READ[name]) for name in _NAMES)
_CONTROLS = bytes({*range(0x20)} - {0x09, 0x0A})  # taking them out of bytes is the quickest way to see that there are none
_ROW = re.compile('(?:fid="(0|[1-9][0-9]{0,8})" )?name="([^"<>&\\\\\\x00-\\x1f\ufffe\uffff]{1,1024})" type="([a-z-]+)"')
_SIMPLE = re.compile('<body type="(text|bytes|object)">([^<>]*)</body>')
_ROWS = {"fields": "field", "map": "entry"}

_Opening = tuple[str, Callable[[str], Any], int | None, str]
_openings: dict[str, _Opening] = {}
"""What stands between a tag's name and its `>`: the row's name, what reads its text, its field id, its type."""


def _opening(text: str) -> _Opening | None:
    found = _ROW.fullmatch(text)
    if found is None or found[3] not in READERS:
        return None
    if len(_openings) > 4096:
        _openings.clear()
    made: _Opening = (found[2], READERS[found[3]], None if found[1] is None else int(found[1]), found[3])
    if len(text) < 128:
        _openings[text] = made
    return made


def _rows(text: str, tag: str) -> list[tuple[_Opening, str]] | None:
    """Return the rows of a run of `<tag …>text</tag>`, or None if it is not just that."""
    opened, closed = f"<{tag} ", f"</{tag}>"
    if not (text.startswith(opened) and text.endswith(closed)):
        return None
    chunks = text[len(opened) : -len(closed)].split(closed + opened)
    # Two tags for each row, and so no other `<` and no `>` beyond them: neither in a text nor, as the pattern knows, in a name.
    if text.count("<") != 2 * len(chunks) or text.count(">") != 2 * len(chunks) or len(chunks) > MAX_ELEMENTS - 3:
        return None
    rows: list[tuple[_Opening, str]] = []
    for chunk in chunks:
        start, _, value = chunk.partition(">")
        opening = _openings.get(start) or _opening(start)
        if opening is None or (opening[2] is not None and tag != "field"):
            return None
        rows.append((opening, value))
    return rows


def split(text: str, data: bytes) -> ReceivedMessage[Any] | None:
    """Return the message of a canonical stanza (`text` is `data` decoded), or None where the judge should look."""
    found = _HEAD.match(text)
    if found is None or not text.endswith(SUFFIX):
        return None
    if len(data.translate(None, _CONTROLS)) != len(data) or (not text.isascii() and ("\ufffe" in text or "\uffff" in text)):
        return None
    if "&" in text and not entities_right(text):
        return None
    start, end = found.end(), len(text) - len(SUFFIX)
    body_at = text.find("<body ", start, end)
    stop = end if body_at < 0 else body_at
    properties: list[tuple[_Opening, str]] = []
    if stop > start:
        rows = _rows(text[start:stop], "property")
        if rows is None or (len(rows) > 1 and len({row[0][0] for row in rows}) != len(rows)):
            return None
        properties = rows
    kind: str | None = None
    content: Any = None
    if body_at >= 0:
        simple = _SIMPLE.fullmatch(text, body_at, end)
        if simple is not None:
            kind, content = simple.groups()
        else:
            kind = next((kind for kind in _ROWS if text.startswith(f'<body type="{kind}">', body_at)), None)
            if kind is None or not text.endswith("</body>", body_at, end):
                return None
            content = _rows(text[body_at + len(f'<body type="{kind}">') : end - len("</body>")], _ROWS[kind])
            if content is None or len(content) + len(properties) > MAX_ELEMENTS - 3:
                return None
            if kind == "map" and len({row[0][0] for row in content}) != len(content):
                return None
    head: dict[str, Any] = {}
    try:
        for (name, read), value in zip(_READ, found.groups(), strict=True):
            if value is not None:
                if len(value) > MAX_TEXT:
                    return None
                head[name] = read(value)
    except (ValueError, UnimsgError):
        return None
    return ReceivedMessage(head, _SPLITS, (properties, kind, content, data), data)


def shape_of(message: ReceivedMessage[Any]) -> Shape:
    """Return the shape of a message that `split` gave."""
    properties, kind, content, _ = message.wire[1]
    rows = tuple(Row(row[0], row[3], row[2]) for row, _ in content) if kind in _ROWS else ()
    return Shape(tuple(message.head), tuple(Row(row[0], row[3]) for row, _ in properties), kind, rows)


class _SplitReader:
    """Read messages that were split: the state is the properties, the body's kind and content, and the bytes."""

    def properties(self, state: Any) -> Mapping[str, Any]:
        try:
            return {row[0]: row[1](text if "&" not in text else unescape(text)) for row, text in state[0]}
        except ValueError:
            return TREES.properties(envelope_of(state[3]))

    def body(self, state: Any) -> tuple[str | None, Any]:
        _, kind, content, data = state
        try:
            if kind is None:
                return None, None
            if kind == "bytes":
                return kind, READERS["bytes"](content)
            if kind == "map":
                return kind, {row[0]: row[1](text if "&" not in text else unescape(text)) for row, text in content}
            if kind == "fields":
                return kind, Fields([Field(row[0], row[1](text if "&" not in text else unescape(text)), row[2]) for row, text in content])
            return kind, content if "&" not in content else unescape(content)
        except ValueError:
            return TREES.body(envelope_of(data))

    def canonical(self, state: Any) -> bytes:
        data: bytes = state[3]
        return data


_SPLITS = _SplitReader()
