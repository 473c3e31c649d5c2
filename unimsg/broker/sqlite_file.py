"""The file of the SQLite store: what is in it, whose it is, and how it is opened.

A file is ours if its `application_id` is APPLICATION; `user_version` is the version of the tables. An empty or missing
file becomes ours. Anything else is refused and left as it was. See docs/sqlite.md for what each table holds.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Literal

from unimsg.broker.sqlite_errors import store_error
from unimsg.errors import StoreError

__all__ = ["APPLICATION", "PAGE", "VERSION", "judge_path", "open_file"]

APPLICATION = 0x756E696D  # "unim"
VERSION = 1
PAGE = 8192
"""Bytes of a page of new files: measured 20 % faster than 4096 for stanzas of 800 bytes, and no slower than 16384."""

_MAGIC = b"SQLite format 3\0"
_BUSY = 30.0
"""Seconds that SQLite waits for programs that do not take our lock, a backup for instance."""

# What is lent or moved is a narrow row; the wide rows of `message` are written once and deleted once. `rank` is 9 - priority,
# so that every index is read forwards. Ids are never used twice, across all restarts: `state` counts them.
_SCHEMA = """
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1), message INTEGER NOT NULL, token INTEGER NOT NULL, mailbox INTEGER NOT NULL,
    consumer INTEGER NOT NULL, records INTEGER NOT NULL, roster INTEGER NOT NULL);
INSERT INTO state VALUES (1, 1, 1, 1, 1, 1, 1);
CREATE TABLE peer (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE link (
    id TEXT PRIMARY KEY, client_id TEXT, lease REAL NOT NULL, deadline REAL NOT NULL, lapsed INTEGER NOT NULL, peer TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY, destination TEXT NOT NULL, subscription TEXT, client_id TEXT, durable INTEGER NOT NULL, shared INTEGER NOT NULL,
    selector TEXT, no_local INTEGER NOT NULL, owner TEXT, overflow TEXT, overflow_limit INTEGER, cut INTEGER NOT NULL);
CREATE TABLE tally (
    mailbox INTEGER PRIMARY KEY, waiting INTEGER NOT NULL, held INTEGER NOT NULL, special INTEGER NOT NULL,
    returned INTEGER NOT NULL, dropped INTEGER NOT NULL);
CREATE TABLE consumer (id INTEGER PRIMARY KEY, link TEXT NOT NULL, mailbox INTEGER NOT NULL, selector TEXT);
CREATE TABLE temporary (destination TEXT PRIMARY KEY, link TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE body (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE message (
    id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, rank INTEGER NOT NULL, expires REAL, grp TEXT, stamp REAL,
    facts TEXT NOT NULL, body INTEGER, data BLOB);
CREATE INDEX message_body ON message (body) WHERE body IS NOT NULL;
CREATE TABLE ready (
    mailbox INTEGER NOT NULL, rank INTEGER NOT NULL, id INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (mailbox, rank, id)) WITHOUT ROWID;
CREATE TABLE delayed (
    mailbox INTEGER NOT NULL, id INTEGER NOT NULL, rank INTEGER NOT NULL, count INTEGER NOT NULL, due REAL NOT NULL, PRIMARY KEY (mailbox, id)) WITHOUT ROWID;
CREATE INDEX delayed_due ON delayed (due);
CREATE TABLE held (
    consumer INTEGER NOT NULL, token INTEGER NOT NULL, mailbox INTEGER NOT NULL, rank INTEGER NOT NULL, id INTEGER NOT NULL,
    count INTEGER NOT NULL, until REAL, PRIMARY KEY (consumer, token)) WITHOUT ROWID;
CREATE INDEX held_until ON held (until) WHERE until IS NOT NULL;
CREATE TABLE expiry (expires REAL NOT NULL, id INTEGER NOT NULL, mailbox INTEGER NOT NULL, PRIMARY KEY (expires, id)) WITHOUT ROWID;
CREATE TABLE grp (mailbox INTEGER NOT NULL, name TEXT NOT NULL, consumer INTEGER NOT NULL, PRIMARY KEY (mailbox, name)) WITHOUT ROWID;
CREATE INDEX grp_consumer ON grp (consumer);
CREATE TABLE seen (
    destination TEXT NOT NULL, id TEXT NOT NULL, until REAL NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (destination, id)) WITHOUT ROWID;
CREATE INDEX seen_number ON seen (number);
"""


def judge_path(path: Path) -> None:
    """Raise StoreError if there cannot be a store at `path`, without opening it."""
    parent = path.parent
    if not parent.is_dir():
        raise StoreError(f"{path}: there is no folder {parent}; make it first (mkdir -p {parent})")
    try:
        status = path.stat()
    except FileNotFoundError:
        if not os.access(parent, os.W_OK | os.X_OK):
            raise StoreError(f"{path}: the folder {parent} cannot be written; mend its permissions, or name a file elsewhere") from None
        return
    except OSError as error:
        raise store_error(error, path) from error
    if stat.S_ISDIR(status.st_mode):
        raise StoreError(f"{path}: this is a folder; name a file in it, for instance {path / 'unimsg.db'}")
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: this is no ordinary file; name another one")
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreError(f"{path}: the file cannot be {'written' if os.access(path, os.R_OK) else 'read'}; mend its permissions (chmod u+rw)")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"{path}: the folder {parent} cannot be written, and SQLite keeps its log beside the file; mend its permissions")
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise store_error(error, path) from error
    if start and start != _MAGIC:
        raise StoreError(f"{path}: this is a file of another kind, not SQLite's; it was left as it is: name another file")


def open_file(path: Path, sync: Literal["full", "normal"] = "full") -> sqlite3.Connection:
    """Open the store's file, making it if need be, ready for work; the caller keeps others from making it at the same time.

    The connection is in autocommit mode and may change threads (one at a time). Raises StoreError.
    """
    judge_path(path)
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=_BUSY)
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    try:
        _claim(database, path)
        database.execute(f"PRAGMA synchronous={sync}")
        # 32 MiB of pages; the WAL is emptied by our own checkpoints, off the event loop, and cut back to 64 MiB afterwards.
        for pragma in ("cache_size=-32768", "wal_autocheckpoint=0", f"journal_size_limit={64 << 20}", "temp_store=memory", "trusted_schema=off"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        # A write that does nothing: a read-only file system is found here, not at the first message.
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE state SET records = records WHERE one = 1")
        database.execute("COMMIT")
    except sqlite3.Error as error:
        database.close()
        raise store_error(error, path) from error
    except BaseException:
        database.close()
        raise
    return database


def _one(database: sqlite3.Connection, sql: str) -> int:
    value: int = database.execute(sql).fetchone()[0]
    return value


def _claim(database: sqlite3.Connection, path: Path) -> None:
    """See to it that the file is ours and in WAL mode. Raises StoreError, having changed nothing."""
    with closing(database.cursor()):
        application, version = _one(database, "PRAGMA application_id"), _one(database, "PRAGMA user_version")
        tables = _one(database, "SELECT count(*) FROM sqlite_master")
    if application == APPLICATION:
        if version > VERSION:
            raise StoreError(f"{path}: written by a newer unimsg (tables of version {version}, this one knows {VERSION}); update unimsg, or name another file")
        if version < VERSION:
            raise StoreError(f"{path}: tables of version {version}, which no released unimsg wrote; name another file")
    elif application or tables or version:
        raise StoreError(
            f"{path}: this SQLite file belongs to another program ({tables} tables, application id {application}); it was left as it is: name another file"
        )
    else:
        database.execute(f"PRAGMA page_size={PAGE}")
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
    mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"{path}: SQLite cannot keep a write-ahead log here (journal mode {mode}); a network file system cannot hold this file")
    if application == APPLICATION:
        return
    database.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            database.execute(statement)
    database.execute(f"PRAGMA application_id={APPLICATION}")
    database.execute(f"PRAGMA user_version={VERSION}")
    database.execute("COMMIT")
