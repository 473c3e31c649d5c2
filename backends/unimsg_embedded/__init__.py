"""The embedded broker's doors: `memory://NAME` and `sqlite:///FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unimsg_embedded.memory import MemoryDriver

if TYPE_CHECKING:
    from unimsg_embedded.sqlite import SqliteDriver

__all__ = ["MemoryDriver", "SqliteDriver"]


def __getattr__(name: str) -> Any:
    if name == "SqliteDriver":  # whoever opens memory:// need not import sqlite3
        from unimsg_embedded.sqlite import SqliteDriver

        return SqliteDriver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
