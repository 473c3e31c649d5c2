"""What goes wrong with a store's file, in our words: SQLite's and the system's errors become StoreError.

Each row says what it is and what mends it; the file is always named. Source: https://sqlite.org/rescode.html.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from unimsg.errors import MessageTooLargeError, StoreError

__all__ = ["LARGEST", "store_error"]

LARGEST = 1_000_000_000
"""Bytes that SQLite can keep in one value (SQLITE_MAX_LENGTH as everybody compiles it)."""

_FULL = "the disk is full; make room (what was confirmed is safe, and the broker goes on as soon as there is room)"
_READONLY = "the file, or its folder, cannot be written; the broker needs to write both: mend their permissions, or remount the file system writable"
_CORRUPT = "the file is damaged; keep a copy, and save what can be read with `sqlite3 FILE .recover`"

# Primary result code -> what it is and what to do. Extended codes carry the primary one in their low byte.
_SAYINGS: dict[int, str] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READONLY,
    sqlite3.SQLITE_PERM: _READONLY,
    sqlite3.SQLITE_AUTH: _READONLY,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: "this is no SQLite file, or it is encrypted; name another file",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; its folder must be there, and both must be readable and writable",
    sqlite3.SQLITE_BUSY: "another program has locked the file for too long; let it finish (an open transaction in a database shell, a backup)",
    sqlite3.SQLITE_LOCKED: "another program has locked the file for too long; let it finish (an open transaction in a database shell, a backup)",
    sqlite3.SQLITE_IOERR: "the file system reported an error; look at the disk and at the system's log",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_PROTOCOL: "the file system does not lock files as it must; a network file system cannot hold this file",
    sqlite3.SQLITE_NOLFS: "the file system cannot hold files of this size",
    sqlite3.SQLITE_SCHEMA: "another program has changed the file's tables; restore it from a backup",
}

_SYSTEM: dict[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the disk quota is used up; make room (what was confirmed is safe, and the broker goes on as soon as there is room)",
    errno.EFBIG: "the file may not grow further (a limit of this process or of the file system); raise it, or make room",
    errno.EROFS: _READONLY,
    errno.EACCES: _READONLY,
    errno.EPERM: _READONLY,
    errno.ENOENT: "its folder is not there; make it first",
    errno.ENOTDIR: "its folder is not a folder",
    errno.EISDIR: "this is a folder; name a file",
}

_ROOM = 256 * 1024
"""Bytes of free disk under which an I/O error is taken for a full disk: not every path of SQLite tells them apart."""


def store_error(error: sqlite3.Error | OSError, path: str | Path) -> StoreError | MessageTooLargeError:
    """Return what is wrong with the file at `path`, and what to do; the cause is `native`."""
    ours: StoreError | MessageTooLargeError
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if code == sqlite3.SQLITE_TOOBIG:
            ours = MessageTooLargeError(f"{path}: a message over SQLite's limit of {LARGEST} bytes", LARGEST + 1, LARGEST)
        else:
            saying = _SAYINGS.get(code & 0xFF) if code is not None else None
            if code is not None and code & 0xFF == sqlite3.SQLITE_IOERR and _free(path) < _ROOM:
                saying = _FULL
            ours = StoreError(f"{path}: {saying or 'SQLite refused'} ({name}: {error})")
    else:
        saying = _SYSTEM.get(error.errno or 0)
        ours = StoreError(f"{path}: {saying or 'the system refused'} ({error.strerror or error})")
    ours.native = error
    return ours


def _free(path: str | Path) -> int:
    """Return the bytes free where `path` is; a lot if that cannot be told."""
    try:
        return shutil.disk_usage(Path(path).parent).free
    except OSError:
        return 1 << 60
