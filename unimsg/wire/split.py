"""Canonical bytes of any shape: the text is cut at its tags, without a parser and without code of its own.

Whatever is not plainly canonical and flat (escapes in attributes, nesting, vectors, base64 texts, unknown names) gives
None, and the judge decides. What stands in the opening tags repeats from message to message, and is judged once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from unimsg.bodies import Field, Fields
from unimsg.errors import UnimsgError
from unimsg.message import ReceivedMessage
from unimsg.wire.escape import pattern, unescape, unfit
from unimsg.wire.head import READ, known_place
from unimsg.wire.judge import TREES, envelope_of
from unimsg.wire.lexical import READERS
from unimsg.wire.limits import MAX_ELEMENTS, MAX_TEXT, PREFIX, SUFFIX
from unimsg.wire.shape import HEADS, Row, Shape, entities_right

__all__ = ["shape_of", "split"]

_ROW = '(?:fid="(0|[1-9][0-9]{0,8})" )?name="([^"<>&\\\\\\x00-\\x1f\ufffe\uffff]{1,1024})" type="([a-z-]+)"'
_BODIES = {f'<body type="{kind}"': kind for kind in ("text", "bytes", "object", "map", "fields")}
_ROWS = {"fields": "field", "map": "entry"}
_PREFIX, _SUFFIX, _LEFT = len(PREFIX), len(SUFFIX), MAX_ELEMENTS - 3
_KEEP = 1024
"""Sets of opening tags to remember, if they are not too long."""

Read = Callable[[str], Any]


class _Rows(NamedTuple):
    """What a run of opening tags says: the names, what reads each text, and all of it."""

    names: tuple[str, ...]
    reads: tuple[Read, ...]
    rows: tuple[Row, ...]


_NONE = _Rows((), (), ())
_runs: dict[tuple[str, ...], _Rows] = {}
_openings: dict[str, Row] = {}
_headings: dict[tuple[str, ...], tuple[tuple[str, Read], ...]] = {}


def _heading(openings: tuple[str, ...]) -> tuple[tuple[str, Read], ...] | None:
    """Judge what stands before the values of headers (` id=`): known names, in their order, once each."""
    names = [opening[1:-1] for opening in openings]
    if any(name not in HEADS or opening != f" {name}=" for name, opening in zip(names, openings, strict=True)) or names != sorted(set(names)):
        return None
    made = tuple((name, known_place if name in ("destination", "reply-to") else str if READ[name] is READ["id"] else READ[name]) for name in names)
    if len(_headings) >= _KEEP:
        _headings.clear()
    _headings[openings] = made
    return made


def _head(text: str, end: int) -> dict[str, Any] | None:
    """Return the headers of an envelope whose opening tag ends at `end`. Raises ValueError or UnimsgError."""
    pieces = text[_PREFIX:end].split('"')
    values = pieces[1::2]
    openings = tuple(pieces[:-1:2])
    heading = _headings.get(openings) or _heading(openings)
    joined = "".join(values)
    if len(pieces) % 2 == 0:  # the quote before the end opens a value
        return None
    if heading is None or pieces[-1] or not joined.isprintable() or "&" in joined or "<" in joined or "\\" in joined or len(joined) > MAX_TEXT:
        return None
    head = {name: read(value) for (name, read), value in zip(heading, values, strict=True)}
    return None if None in head.values() else head  # a default that was written is no header


def _opening(text: str) -> Row | None:
    """Judge what stands between a tag's name and its `>`."""
    found = pattern(_ROW).fullmatch(text)
    if found is None or found[3] not in READERS:
        return None
    made = Row(found[2], found[3], None if found[1] is None else int(found[1]))
    if len(text) < 128:
        if len(_openings) >= 4 * _KEEP:
            _openings.clear()
        _openings[text] = made
    return made


def _run(openings: tuple[str, ...], tag: str) -> _Rows | None:
    """Judge the opening tags of a run, each without `<tag ` and `>`."""
    rows: list[Row] = []
    for opening in openings:
        row = _openings.get(opening) or _opening(opening)
        if row is None or (row.fid is not None and tag != "field"):
            return None
        rows.append(row)
    names = tuple([row.name for row in rows])
    if tag != "field" and len(set(names)) != len(names):
        return None
    made = _Rows(names, tuple([READERS[row.type] for row in rows]), tuple(rows))
    if len(rows) <= 64 and all(len(opening) < 128 for opening in openings):
        if len(_runs) >= _KEEP:
            _runs.clear()
        _runs[(tag, *openings)] = made
    return made


def _rows(text: str, tag: str) -> tuple[_Rows, list[str]] | None:
    """Return the rows of a run of `<tag …>text</tag>` and their texts, or None if it is not just that."""
    opened, closed = f"<{tag} ", f"</{tag}>"
    if not (text.startswith(opened) and text.endswith(closed)):
        return None
    chunks = text[len(opened) : -len(closed)].split(closed + opened)
    # Two tags for each row: an opening tag that lost its `>` would else pass for one whose text is empty.
    if len(chunks) > _LEFT or text.count(">") != 2 * len(chunks):
        return None
    key = [tag]
    values: list[str] = []
    for chunk in chunks:
        start, _, value = chunk.partition(">")
        key.append(start)
        values.append(value)
    openings = tuple(key)
    run = _runs.get(openings) or _run(openings[1:], tag)
    if run is None:
        return None
    fit = _fitting(values)
    return None if fit is None else (run, fit)


def _fitting(values: list[str]) -> list[str] | None:
    """Return the texts of elements with their escapes undone, or None if one holds what canonical bytes do not."""
    joined = "".join(values)
    if "<" in joined or ">" in joined or unfit(joined):
        return None
    if "&" in joined:
        return [unescape(value) for value in values] if all(map(entities_right, values)) else None
    return values


def split(text: str, data: bytes) -> ReceivedMessage[Any] | None:
    """Return the message of a canonical stanza (`text` is `data` decoded), or None where the judge should look."""
    if not (text.startswith(PREFIX) and text.endswith(SUFFIX)):
        return None
    start = _PREFIX if text.startswith(">", _PREFIX) else text.find('">', _PREFIX) + 1
    if not start:
        return None
    end = len(text) - _SUFFIX
    try:
        head = _head(text, start) if start > _PREFIX else {}
    except (ValueError, UnimsgError):
        return None
    if head is None:
        return None
    start += 1
    body_at = text.find("<body ", start, end)
    stop = end if body_at < 0 else body_at
    run = _NONE
    values: list[str] = []
    if stop > start:
        found = _rows(text[start:stop], "property")
        if found is None:
            return None
        run, values = found
    kind: str | None = None
    content: Any = None
    if body_at >= 0:
        opening, _, inner = text[body_at:end].partition(">")
        kind = _BODIES.get(opening)
        if kind is None or not inner.endswith("</body>"):
            return None
        inner = inner[:-7]
        content = _rows(inner, _ROWS[kind]) if kind in _ROWS else _fitting([inner])
        if content is None or (kind in _ROWS and len(content[1]) + len(values) > _LEFT):
            return None
    return ReceivedMessage(head, _SPLITS, (run, values, kind, content, data), data)


def shape_of(message: ReceivedMessage[Any]) -> Shape:
    """Return the shape of a message that `split` gave."""
    run, _, kind, content, _ = message.wire[1]
    return Shape(tuple(message.head), run.rows, kind, content[0].rows if kind in _ROWS else ())


class _SplitReader:
    """Read messages that were split: the state is the properties, their texts, the body's kind and content, and the bytes."""

    def properties(self, state: Any) -> Mapping[str, Any]:
        run = state[0]
        try:
            return {name: read(text) for name, read, text in zip(run.names, run.reads, state[1], strict=True)}
        except ValueError:
            return TREES.properties(envelope_of(state[4]))

    def body(self, state: Any) -> tuple[str | None, Any]:
        _, _, kind, content, data = state
        try:
            if kind is None:
                return None, None
            if kind == "bytes":
                return kind, READERS["bytes"](content[0])
            if kind == "map":
                run, values = content
                return kind, {name: read(text) for name, read, text in zip(run.names, run.reads, values, strict=True)}
            if kind == "fields":
                run, values = content
                return kind, Fields([Field(row.name, read(text), row.fid) for row, read, text in zip(run.rows, run.reads, values, strict=True)])
            return kind, content[0]
        except ValueError:
            return TREES.body(envelope_of(data))

    def canonical(self, state: Any) -> bytes:
        data: bytes = state[4]
        return data


_SPLITS = _SplitReader()
