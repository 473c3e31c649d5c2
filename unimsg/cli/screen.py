"""Where output goes: JSON lines for programs, text for people, in colour on a terminal where rich is installed.

What people see comes from strangers' messages: control characters are shown, never sent to the terminal.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Part", "Screen", "note", "visible"]

Part = str | tuple[str, str]
"""A piece of text, or one with a style of rich's (`bold`, `green`, `dim`)."""

_UNSEEN = re.compile(r"[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def visible(text: str) -> str:
    """Return a text whose control characters, and those that turn the direction of writing, are spelled out."""
    return _CONTROL.sub(_escape, text)


class Screen:
    """Print records, texts and tables to the standard output; `lines` tells that a program reads them."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Choose by --json and --text, or else by whether the output is a terminal."""
        self.terminal = sys.stdout.isatty()
        self.lines = args.output == "json" or (args.output is None and not self.terminal)
        self._console: Console | None = _console() if self.terminal and not self.lines else None

    def record(self, record: Mapping[str, Any]) -> None:
        """Print one JSON line."""
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._write(_UNSEEN.sub(_escape, text) + "\n")

    def text(self, *parts: Part) -> None:
        """Print a line of text."""
        if self._console is None:
            self._write(visible("".join(part if isinstance(part, str) else part[0] for part in parts)) + "\n")
            return
        from rich.text import Text

        self._console.print(Text.assemble(*(visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts)), soft_wrap=True)

    def raw(self, data: bytes) -> None:
        """Print a stanza: byte for byte into a pipe, harmless on a terminal."""
        if self.terminal:
            self._write(visible(data.decode(errors="backslashreplace")) + "\n")
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(data + b"\n")
            sys.stdout.buffer.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Part]], *, numbers: Sequence[str] = ()) -> None:
        """Print a table; the columns called in `numbers` are set to the right."""
        cells = [[visible(part if isinstance(part, str) else part[0]) for part in row] for row in rows]
        if self._console is None:
            widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
            for row in ([*columns], *cells):
                aligned = (text.rjust(width) if name in numbers else text.ljust(width) for text, width, name in zip(row, widths, columns, strict=True))
                self._write("  ".join(aligned).rstrip() + "\n")
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in columns:
            table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
        self._console.print(table, markup=False)

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:  # a terminal or a locale that has not the characters
            encoding = sys.stdout.encoding
            sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


def note(text: str) -> None:
    """Say something to people that is not the output: on the error stream."""
    print(visible(text), file=sys.stderr, flush=True)


def _console() -> Console | None:
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None  # plain text will do; the demo's live table says so too
    return Console(highlight=False)
