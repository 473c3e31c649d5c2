"""The everyday stanza by expat, straight from its events to a message: no tree where none is needed.

Everyday is `<message>` with one `<envelope>`, or that alone, of properties and a plain body, which hold nothing but text,
and nothing besides; in whatever order, quotes and prefixes its attributes and names stand. For all else, and to say what
is wrong and where, there is the tree and its judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.parsers import expat

from unimsg.errors import InvalidDestinationError
from unimsg.message import ReceivedMessage
from unimsg.wire.head import READ, known_place
from unimsg.wire.judge import BODY, ENVELOPE, MESSAGES, PROPERTY, TREES, judge
from unimsg.wire.lexical import READERS
from unimsg.wire.limits import MAX_NAME, MAX_TEXT
from unimsg.wire.strict import parse

__all__ = ["read", "strictly"]

LARGEST = 65_536
"""Bytes of a stanza that is read this way: what comes of it is kept until its end, whatever it is."""
_LEAVES = (PROPERTY, BODY)
_KINDS = ("text", "bytes", "object")
_Row = tuple[str, Callable[[str], Any]]
_rows: dict[tuple[str, ...], _Row] = {}
_runs: dict[tuple[tuple[str, ...], ...], tuple[_Row, ...]] = {}
_HEADS: dict[str, Callable[[str], Any]] = {
    name: known_place if name in ("destination", "reply-to") else str if read is READ["id"] else read for name, read in READ.items()
}


class _OddError(Exception):
    """Say that this is no everyday stanza."""


def _odd(*_: object) -> None:
    raise _OddError


def strictly(data: bytes) -> ReceivedMessage[Any]:
    """Return the message of any stanza. Raises WireFormatError with the cause and the position in bytes."""
    message = read(data)
    return message if message is not None else judge(parse(data), data)


def read(data: bytes) -> ReceivedMessage[Any] | None:
    """Return the message of an everyday stanza, or None where the judge should look."""
    if len(data) > LARGEST or b"\0" in data or data.startswith(b"\xef\xbb\xbf"):
        return None
    events: list[Any] = []
    note = events.append
    parser = expat.ParserCreate("utf-8", "}")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartElementHandler = lambda tag, attrs: note((tag, attrs))
    # A text and a closing name are both noted as they are: `_leaves` tells why that is enough.
    parser.EndElementHandler = parser.CharacterDataHandler = note
    parser.StartDoctypeDeclHandler = parser.CommentHandler = parser.ProcessingInstructionHandler = parser.XmlDeclHandler = _odd
    try:
        str(data, "utf-8")
        parser.Parse(data, True)
        return _message(events, data)
    except (_OddError, expat.ExpatError, InvalidDestinationError, ValueError, IndexError, TypeError):
        return None


def _message(events: list[Any], data: bytes) -> ReceivedMessage[Any] | None:
    tag, attrs = events[0]
    if tag == ENVELOPE:
        start, stop = 1, len(events) - 1
    else:
        if tag not in MESSAGES or "error" in attrs or events.pop() != tag:
            return None
        tag, attrs = events[1]
        start, stop = 2, len(events) - 1
    if tag != ENVELOPE or events[stop] != ENVELOPE:
        return None
    values = attrs[1::2]
    joined = "".join(values)
    if "\\" in joined or len(joined) > MAX_TEXT:
        return None
    head = {name: _HEADS[name](value) for name, value in sorted(zip(attrs[::2], values, strict=True)) if name in _HEADS}
    if None in head.values():  # a default that was written
        head = {name: value for name, value in head.items() if value is not None}
    return _leaves(head, events, start, stop, data)


def _leaves(head: dict[str, Any], events: list[Any], at: int, stop: int, data: bytes) -> ReceivedMessage[Any] | None:
    """Take out properties and a body, each an opening tag, at most one text, and its closing name.

    A text that looks like such a name is refused. So each leaf has exactly one closing name, and there are as many of
    them as leaves: none of them closes late, which is what an element within an element would do.
    """
    found = _regular(events, at, stop) or _one_by_one(events, at, stop)
    if found is None:
        return None
    tags, attributes, texts = found
    kind: str | None = None
    content = ""
    if tags and tags[-1] == BODY:
        *attributes, said = attributes
        *texts, content = texts
        kind = said[1]
        if len(said) != 2 or said[0] != "type" or kind not in _KINDS:
            return None
    if tags.count(PROPERTY) != len(attributes):
        return None
    keys = tuple(map(tuple, attributes))
    rows = _runs.get(keys)
    if rows is None:
        rows = _run(keys)
    return ReceivedMessage(head, _FLAT, (rows, texts, kind, content, data))


_Leaves = tuple[Sequence[str], Sequence[list[str]], Sequence[str]]


def _regular(events: list[Any], at: int, stop: int) -> _Leaves | None:
    """Return names, attributes and texts if every leaf has a text; mostly they have, and then all are looked at together."""
    if at == stop or (stop - at) % 3:
        return None
    texts = events[at + 1 : stop : 3]
    tags, attributes = zip(*events[at:stop:3], strict=True)
    if tags != tuple(events[at + 2 : stop : 3]) or PROPERTY in texts or BODY in texts:
        return None
    "".join(texts)  # TypeError unless all are texts
    return tags, attributes, texts


def _one_by_one(events: list[Any], at: int, stop: int) -> _Leaves | None:
    tags: list[str] = []
    attributes: list[list[str]] = []
    texts: list[str] = []
    while at < stop:
        tag, attrs = events[at]
        text = events[at + 1]
        if text == tag:
            text = ""
            at += 2
        elif text.__class__ is str and text not in _LEAVES and events[at + 2] == tag:
            at += 3
        else:
            return None
        tags.append(tag)
        attributes.append(attrs)
        texts.append(text)
    return (tags, attributes, texts) if at == stop else None


def _run(keys: tuple[tuple[str, ...], ...]) -> tuple[_Row, ...]:
    """Judge the attributes of all properties. Raises _OddError for what the judge should look at."""
    rows = tuple([_rows.get(key) or _row(key) for key in keys])
    if len({name for name, _ in rows}) != len(rows):
        raise _OddError
    if len(rows) <= 64 and all(key in _rows for key in keys):
        if len(_runs) >= 1024:
            _runs.clear()
        _runs[keys] = rows
    return rows


def _row(attrs: tuple[str, ...]) -> _Row:
    """Judge the attributes of a property. Raises _OddError for what the judge should look at."""
    said = dict(zip(attrs[::2], attrs[1::2], strict=True))
    name, wire_type = said.get("name", ""), said.get("type", "")
    if len(attrs) != 4 or not 0 < len(name) <= MAX_NAME or "\\" in name or wire_type not in READERS:
        raise _OddError
    made = name, READERS[wire_type]
    if len(name) < 128:
        if len(_rows) >= 4096:
            _rows.clear()
        _rows[attrs] = made
    return made


class _FlatReader:
    """Read messages that were flat: the state is the properties with their texts, the body's kind and text, and the bytes."""

    def properties(self, state: Any) -> Mapping[str, Any]:
        try:
            return {name: read(text) for (name, read), text in zip(state[0], state[1], strict=True)}
        except ValueError:
            return TREES.properties(self._envelope(state))

    def body(self, state: Any) -> tuple[str | None, Any]:
        _, _, kind, content, _ = state
        if kind != "bytes":
            return kind, content if kind is not None else None
        try:
            return kind, READERS["bytes"](content)
        except ValueError:
            return TREES.body(self._envelope(state))

    def canonical(self, state: Any) -> bytes:
        return TREES.canonical(self._envelope(state))

    @staticmethod
    def _envelope(state: Any) -> Any:
        """Return the tree, which says where an error is, and what the canonical form is."""
        return judge(parse(state[4]), state[4]).wire[1]


_FLAT = _FlatReader()
