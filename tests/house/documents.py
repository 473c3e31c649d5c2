"""The project's documents, taken apart: code blocks and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<text>.+?) *#*$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced code block: its language and further words, and where it stands."""

    document: Path
    line: int
    info: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(info: str) -> list[Block]:
    """Return the code blocks of all documents whose fence says exactly `info`."""
    found: list[Block] = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        fences = (fence for fence in _FENCE.finditer(text) if fence["info"].strip() == info)
        found += [Block(document, text.count("\n", 0, fence.start()) + 1, info, fence["text"]) for fence in fences]
    return found


def links(document: Path) -> Iterator[str]:
    """Yield the targets of the links of a document, those in code blocks left out."""
    prose = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for found in _LINK.finditer(re.sub(r"`[^`\n]*`", "", prose)):
        yield found["target"]


def anchors(document: Path) -> set[str]:
    """Return the anchors that the headings of a document have, as GitHub makes them."""
    prose = _FENCE.sub("", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", found["text"].lower().replace("`", "")).strip().replace(" ", "-") for found in _HEADING.finditer(prose)}
