"""What `unimsg doctor sqlite:///FILE` looks at, from the folder to the dead; it changes nothing in the file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from unimsg.broker.sqlite_errors import store_error
from unimsg.broker.sqlite_file import APPLICATION, VERSION, judge_path
from unimsg.driver import Finding
from unimsg.errors import StoreError
from unimsg_embedded.sqlite_peers import Peers

__all__ = ["findings"]

MIB = 1 << 20


def findings(path: Path, sync: str, now: float) -> Iterator[Finding]:
    """Yield findings about a file; `now` is seconds since the epoch."""
    try:
        judge_path(path)
    except StoreError as error:
        yield Finding("fail", "path", str(error))
        return
    yield Finding("ok", "path", f"{path}" if path.exists() else f"{path} is not there yet; the first connection makes it")
    yield _disk(path)
    yield _sync(path, sync)
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5)) as database:
            yield from _inside(database, path, now)
    except sqlite3.Error as error:
        yield Finding("fail", "file", str(store_error(error, path)))


def _disk(path: Path) -> Finding:
    free = shutil.disk_usage(path.parent).free
    level = "ok" if free > 256 * MIB else "warn" if free > 16 * MIB else "fail"
    return Finding(level, "disk", f"{free / MIB:,.0f} MiB free", "" if level == "ok" else "make room: without it messages are refused")


def _sync(path: Path, sync: str) -> Finding:
    """Measure what one commit waits for the disk."""
    probe = path.with_name(f"{path.name}-probe-{os.getpid()}")
    times = []
    try:
        file = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for _ in range(20):
                os.write(file, bytes(4096))
                start = time.perf_counter()
                os.fsync(file)
                times.append(time.perf_counter() - start)
        finally:
            os.close(file)
            probe.unlink()
    except OSError as error:
        return Finding("fail", "durability", str(store_error(error, path)))
    median = sorted(times)[len(times) // 2] * 1000
    if sync != "full":
        return Finding("warn", "durability", f"sync={sync}: the last messages may be lost if the machine dies", "leave sync=normal out of the URL")
    if median < 0.02:
        return Finding("warn", "durability", f"the disk answers in {median:.3f} ms: it keeps nothing (a RAM disk?), or does not tell the truth")
    level = "ok" if median < 50 else "warn"
    return Finding(
        level, "durability", f"sync=full; the disk takes {median:.2f} ms a commit", "" if level == "ok" else "send with submit(), so that many share a commit"
    )


def _inside(database: sqlite3.Connection, path: Path, now: float) -> Iterator[Finding]:
    def one(sql: str) -> int:
        value: int = database.execute(sql).fetchone()[0]
        return value

    application, version = one("PRAGMA application_id"), one("PRAGMA user_version")
    if application != APPLICATION:
        if one("SELECT count(*) FROM sqlite_master"):
            yield Finding("fail", "file", "this SQLite file belongs to another program", "name another file")
        else:
            yield Finding("ok", "file", "empty; the first connection makes the tables")
        return
    if version > VERSION:
        yield Finding("fail", "version", f"tables of version {version}; this unimsg knows {VERSION}", "update unimsg")
        return
    yield Finding("ok", "version", f"tables of version {version}, SQLite {sqlite3.sqlite_version}")
    check = [row[0] for row in database.execute("PRAGMA quick_check(5)").fetchall()]
    if check == ["ok"]:
        yield Finding("ok", "integrity", "quick_check found nothing wrong")
    else:
        yield Finding("fail", "integrity", "; ".join(check), f"keep a copy, and save what can be read: sqlite3 {path} .recover")
    yield from _sizes(database, path)
    mailboxes, waiting, held = database.execute("SELECT count(*), ifnull(sum(waiting), 0), ifnull(sum(held), 0) FROM tally").fetchone()
    yield Finding("ok", "contents", f"{mailboxes} queues and subscriptions, {waiting} messages waiting, {held} in flight")
    yield from _who(database, path, now)


def _sizes(database: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    pages, free, page = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    yield Finding("ok", "size", f"{pages * page / MIB:,.1f} MiB, {free * page / MIB:,.1f} MiB of it free for reuse")
    try:
        log = path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        log = 0
    if log > 256 * MIB:
        yield Finding(
            "warn", "log", f"the write-ahead log has {log / MIB:,.0f} MiB", "some program keeps a reading transaction open (a database shell?): end it"
        )
    else:
        yield Finding("ok", "log", f"the write-ahead log has {log / MIB:,.1f} MiB")


def _who(database: sqlite3.Connection, path: Path, now: float) -> Iterator[Finding]:
    peers, dead = Peers(path), 0
    try:
        for peer, links, silent in database.execute(
            "SELECT p.id, count(l.id), ifnull(sum(l.deadline <= ?), 0) FROM peer p LEFT JOIN link l ON l.peer = p.id GROUP BY p.id", (now,)
        ).fetchall():
            if peers.probe(peer) is False:
                dead += 1
            elif silent:
                yield Finding(
                    "warn",
                    "connections",
                    f"{silent} of the {links} connections of a live process have shown no sign of life for their lease",
                    "is it stopped, or its event loop blocked?",
                )
            else:
                yield Finding("ok", "connections", f"a live process with {links} connection{'s' * (links != 1)}")
    finally:
        peers.shut()
    if dead:
        yield Finding(
            "warn", "dead", f"{dead} process{'es' * (dead != 1)} died with the file open; the next one that connects, or waits, takes back what they held"
        )
