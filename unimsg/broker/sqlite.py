"""The store in an SQLite file: durable, and shared by the processes of one machine.

Wide rows (`message`) are written once and deleted once; what is lent, delayed or given back moves as a narrow row between
`ready`, `delayed` and `held`. How many are where (`tally`) is counted in memory and written with the commit.

Everything happens inside `begin` … `commit`, which the door calls: several operations make one transaction (group commit).
An error of ours has changed nothing; after an error of SQLite's the whole transaction is to be rolled back.
"""
# ruff: noqa: D102, S608  - what a method promises stands in `Store`; names put into SQL are our own

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from unimsg.broker.sqlite_records import Records, State
from unimsg.broker.sqlite_rows import facts_of, frame_of
from unimsg.broker.store import Consumer, Judge, Token, Verdict
from unimsg.driver import Delivery, Frame

__all__ = ["SqliteStore"]

_SHARED = 16 * 1024
"""Bytes that copies of one frame's data must cost before it is kept once, beside its messages."""

_LOT = 64
"""Rows that one INSERT takes: each statement lets go of the interpreter lock, and a busy thread may take it for 5 ms."""

_TAKEN = 8 * 1024 * 1024
"""Bytes after which a take stops: a limit in messages says nothing of their size."""

_MANY = 256
"""Rows that a judge is shown at a time."""


class Tally:
    """What is counted of one mailbox. `special`: what waits may expire or have a group. `returned`: when to look again."""

    __slots__ = ("changed", "dropped", "held", "returned", "special", "waiting")

    def __init__(self, waiting: int, held: int, special: int, returned: int, dropped: int) -> None:
        self.waiting, self.held, self.special, self.returned, self.dropped = waiting, held, special, returned, dropped
        self.changed = False


class SqliteStore(Records):
    """Keep everything in an SQLite file; see `Store` for what each method promises."""

    def __init__(self, database: sqlite3.Connection, peer: str) -> None:
        """Take a connection that `open_file` made, and the name of this process among those that use the file."""
        super().__init__(database, peer)
        self._tallies: dict[int, Tally] = {}
        self._looked: dict[int, tuple[int, dict[int, int]]] = {}  # consumer -> (returned, rank -> the last id it was shown)
        self._version = -1
        self._wrote: tuple[int, ...] = ()

    # Transactions.

    def begin(self) -> None:
        """Start a transaction as the only writer, and see what others have committed."""
        self._db.execute("BEGIN IMMEDIATE")
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._state = State(self._db.execute("SELECT message, token, mailbox, consumer, records, roster FROM state").fetchone())
            self._tallies.clear()
            self._version = version
            self._wrote = self._state.row()
        self._refresh()

    def flush(self) -> None:
        """Write what was counted; right before `commit`."""
        changed = [(id_, each) for id_, each in self._tallies.items() if each.changed]
        if changed:
            rows = [(each.waiting, each.held, each.special, each.returned, each.dropped, id_) for id_, each in changed]
            self._db.executemany("UPDATE tally SET waiting = ?, held = ?, special = ?, returned = ?, dropped = ? WHERE mailbox = ?", rows)
            for _, each in changed:
                each.changed = False
        if (row := self._state.row()) != self._wrote:
            self._db.execute("UPDATE state SET message = ?, token = ?, mailbox = ?, consumer = ?, records = ?, roster = ?", row)
            self._wrote = row

    def commit(self) -> None:
        """Make the transaction last; nothing is shown to others before. May wait for the disk."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, and forget what was cached of it."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._tallies.clear()
        self._looked.clear()
        self._version = -1
        self._forget_records()

    def close(self) -> None:
        """Close the file; what was not committed is undone."""
        self._db.close()

    def _tally(self, mailbox_id: int) -> Tally:
        found = self._tallies.get(mailbox_id)
        if found is None:
            row = self._db.execute("SELECT waiting, held, special, returned, dropped FROM tally WHERE mailbox = ?", (mailbox_id,)).fetchone()
            found = self._tallies[mailbox_id] = Tally(*row)
        return found

    def _insert(self, table: str, rows: list[Any]) -> None:
        width = len(rows[0])
        marks = f"({','.join('?' * width)})"
        whole = len(rows) - len(rows) % _LOT
        for start in range(0, whole, _LOT):
            self._db.execute(f"INSERT INTO {table} VALUES {','.join([marks] * _LOT)}", [value for row in rows[start : start + _LOT] for value in row])
        if whole < len(rows):
            self._db.executemany(f"INSERT INTO {table} VALUES {marks}", rows[whole:])

    # Records that have messages.

    def remove_mailbox(self, mailbox_id: int) -> None:
        mailbox = self._mailboxes.get(mailbox_id)
        if mailbox is None:
            return
        self.purge(mailbox_id)
        for consumer in self.consumers(mailbox_id):
            held = [row[0] for row in self._db.execute("SELECT id FROM held WHERE consumer = ?", (consumer.id,)).fetchall()]
            self._db.execute("DELETE FROM held WHERE consumer = ?", (consumer.id,))
            self._delete(held)
        self._db.execute("DELETE FROM grp WHERE mailbox = ?", (mailbox_id,))
        self._tallies.pop(mailbox_id, None)
        self._remove_mailbox(mailbox)

    def remove_consumer(self, consumer_id: int) -> None:
        self._looked.pop(consumer_id, None)
        self._remove_consumer(self._consumers[consumer_id])

    def dropped(self, mailbox_id: int) -> int:
        return self._tally(mailbox_id).dropped if mailbox_id in self._mailboxes else 0

    def add_dropped(self, mailbox_id: int, count: int) -> None:
        tally = self._tally(mailbox_id)
        tally.dropped += count
        tally.changed = True

    # Messages in.

    def append(self, plan: Mapping[int, Sequence[Frame]], now: float) -> None:
        bodies = self._share(plan) if len(plan) > 1 else {}
        messages: list[tuple[Any, ...]] = []
        ready: list[tuple[int, int, int, int]] = []
        expiry: list[tuple[float, int, int]] = []
        delayed: list[tuple[int, int, int, int, float]] = []
        number = self._state.message
        facts: dict[tuple[int, str], str] = {}
        for mailbox_id, frames in plan.items():
            tally = self._tally(mailbox_id)
            name = str(self._mailboxes[mailbox_id].destination)
            for frame in frames:
                data, route = frame
                rank, body = 9 - route.priority, bodies.get(id(frame))
                if (kept := facts.get((id(frame), name))) is None:
                    kept = facts[id(frame), name] = facts_of(frame, name)
                messages.append((number, mailbox_id, rank, route.expires_at, route.group, route.timestamp, kept, body, None if body is not None else data))
                if route.deliver_at is not None and route.deliver_at > now:
                    delayed.append((mailbox_id, number, rank, 0, route.deliver_at))
                else:
                    ready.append((mailbox_id, rank, number, 0))
                    if route.expires_at is not None:
                        expiry.append((route.expires_at, number, mailbox_id))
                if route.expires_at is not None or route.group is not None:
                    tally.special = 1
                number += 1
            tally.waiting += len(frames)
            tally.changed = True
        self._state.message = number
        for table, rows in (("message", messages), ("ready", ready), ("expiry", expiry), ("delayed", delayed)):
            if rows:
                self._insert(table, rows)

    def _share(self, plan: Mapping[int, Sequence[Frame]]) -> dict[int, int]:
        """Write the data once of frames that go to many mailboxes; return the body of each (by identity)."""
        times: dict[int, int] = {}
        frames: dict[int, Frame] = {}
        for each in plan.values():
            for frame in each:
                times[id(frame)] = times.get(id(frame), 0) + 1
                frames[id(frame)] = frame
        return {
            key: int(self._db.execute("INSERT INTO body (data) VALUES (?)", (frame.data,)).lastrowid or 0)
            for key, frame in frames.items()
            if times[key] > 1 and len(frame.data) * (times[key] - 1) >= _SHARED
        }

    def _shared(self, where: str, values: tuple[Any, ...]) -> list[int]:
        return [row[0] for row in self._db.execute(f"SELECT DISTINCT body FROM message WHERE body IS NOT NULL AND {where}", values).fetchall()]

    def _drop_bodies(self, bodies: Collection[int]) -> None:
        """Delete the bodies that no message has any more."""
        if bodies:
            self._db.executemany("DELETE FROM body WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM message WHERE body = ?1)", [(body,) for body in bodies])

    def _delete(self, ids: Sequence[int]) -> None:
        """Delete messages for good."""
        text = json.dumps(ids)
        if self._has_bodies():
            shared = self._shared("id IN (SELECT value FROM json_each(?))", (text,))
            self._db.execute("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))", (text,))
            self._drop_bodies(shared)
        else:
            self._db.execute("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))", (text,))

    def _has_bodies(self) -> bool:
        return self._db.execute("SELECT 1 FROM body LIMIT 1").fetchone() is not None

    # Messages out.

    _COLUMNS = "r.rank, r.id, r.count, m.facts, m.data, m.body, m.expires"

    def _frame(self, data: bytes | None, body: int | None, facts: str, destination: Any) -> Frame:
        if data is None:
            data = self._db.execute("SELECT data FROM body WHERE id = ?", (body,)).fetchone()[0]
        return frame_of(data, facts, destination)

    def take(self, consumer: Consumer, limit: int, judge: Judge | None) -> list[Delivery]:
        tally = self._tally(consumer.mailbox)
        if not tally.waiting or limit < 1:
            return []
        taken = self._take_first(consumer.mailbox, limit) if judge is None else self._take_judged(consumer, limit, judge)
        if not taken:
            return []
        token = self._state.token
        self._state.token += len(taken)
        rows = [(consumer.id, token + index, consumer.mailbox, rank, id_, count, None) for index, (rank, id_, count, _) in enumerate(taken)]
        self._insert("held", rows)
        tally.waiting -= len(taken)
        tally.held += len(taken)
        tally.changed = True
        if not tally.waiting:
            tally.special = 0
        return [Delivery(frame, token + index, count + 1) for index, (_, _, count, frame) in enumerate(taken)]

    def _take_first(self, mailbox_id: int, limit: int) -> list[tuple[int, int, int, Frame]]:
        """Take from the front, whatever it is."""
        destination = self._mailboxes[mailbox_id].destination
        cursor = self._db.execute(
            f"SELECT {self._COLUMNS} FROM ready r CROSS JOIN message m ON m.id = r.id WHERE r.mailbox = ? ORDER BY r.rank, r.id LIMIT ?", (mailbox_id, limit)
        )
        taken: list[tuple[int, int, int, Frame]] = []
        size, last, expiring = 0, {}, []
        for rank, id_, count, facts, data, body, expires in cursor:
            frame = self._frame(data, body, facts, destination)
            taken.append((rank, id_, count, frame))
            last[rank] = id_
            if expires is not None:
                expiring.append((expires, id_))
            size += len(frame.data)
            if size > _TAKEN:
                break
        cursor.close()
        if expiring:
            self._db.executemany("DELETE FROM expiry WHERE expires = ? AND id = ?", expiring)
        for rank, id_ in last.items():  # all of a rank up to the last one taken: one range, not one row at a time
            self._db.execute("DELETE FROM ready WHERE mailbox = ? AND rank = ? AND id <= ?", (mailbox_id, rank, id_))
        return taken

    def _take_judged(self, consumer: Consumer, limit: int, judge: Judge) -> list[tuple[int, int, int, Frame]]:
        """Take what the judge says TAKE to, remove what it says DROP to; start after what this consumer was shown before."""
        mailbox_id = consumer.mailbox
        tally, destination = self._tally(mailbox_id), self._mailboxes[mailbox_id].destination
        returned, looked = self._looked.get(consumer.id, (-1, {}))
        if returned != tally.returned:
            looked = {}
        self._looked[consumer.id] = tally.returned, looked
        taken: list[tuple[int, int, int, Frame]] = []
        dropped: list[tuple[int, int]] = []
        expiring: list[tuple[float, int]] = []
        rank, size = -(2**31), 0
        while len(taken) < limit and size <= _TAKEN:
            found = self._db.execute("SELECT rank FROM ready WHERE mailbox = ? AND rank > ? ORDER BY rank LIMIT 1", (mailbox_id, rank)).fetchone()
            if found is None:
                break
            rank = found[0]
            rows: list[Any] = [None]
            while rows and len(taken) < limit and size <= _TAKEN:
                rows = self._db.execute(
                    f"SELECT {self._COLUMNS} FROM ready r CROSS JOIN message m ON m.id = r.id "
                    "WHERE r.mailbox = ? AND r.rank = ? AND r.id > ? ORDER BY r.id LIMIT ?",
                    (mailbox_id, rank, looked.get(rank, 0), _MANY if size == 0 else 16),
                ).fetchall()
                for _, id_, count, facts, data, body, expires in rows:
                    frame = self._frame(data, body, facts, destination)
                    verdict = judge(frame)
                    looked[rank] = id_
                    if verdict is Verdict.SKIP:
                        continue
                    if expires is not None:
                        expiring.append((expires, id_))
                    if verdict is Verdict.DROP:
                        dropped.append((rank, id_))
                        continue
                    taken.append((rank, id_, count, frame))
                    size += len(data or b"")
                    if len(taken) >= limit or size > _TAKEN:
                        break
        gone = [(mailbox_id, each, id_) for each, id_, *_ in taken] + [(mailbox_id, *each) for each in dropped]
        if gone:
            self._db.executemany("DELETE FROM ready WHERE mailbox = ? AND rank = ? AND id = ?", gone)
        if expiring:
            self._db.executemany("DELETE FROM expiry WHERE expires = ? AND id = ?", expiring)
        if dropped:
            self._delete([id_ for _, id_ in dropped])
            tally.waiting -= len(dropped)
            tally.changed = True
        return taken

    def plain(self, mailbox_id: int) -> bool:
        return not self._tally(mailbox_id).special

    def _held(self, consumer_id: int, tokens: Sequence[Token]) -> dict[Token, tuple[int, int, int, int]]:
        """Return token -> (mailbox, rank, id, count) of those that a consumer holds."""
        text = json.dumps([token for token in tokens if isinstance(token, int)])
        rows = self._db.execute(
            "SELECT token, mailbox, rank, id, count FROM held WHERE consumer = ? AND token IN (SELECT value FROM json_each(?))", (consumer_id, text)
        )
        return {token: (mailbox, rank, id_, count) for token, mailbox, rank, id_, count in rows.fetchall()}

    def stale(self, consumer_id: int, tokens: Iterable[Token]) -> list[Token]:
        given = list(tokens)
        found = self._held(consumer_id, given)
        return [token for token in given if token not in found]

    def _let_go(self, consumer_id: int, tokens: Sequence[Token]) -> dict[Token, tuple[int, int, int, int]]:
        """Take messages out of a consumer's hands; return what it held of them."""
        found = self._held(consumer_id, tokens)
        if found:
            self._db.execute("DELETE FROM held WHERE consumer = ? AND token IN (SELECT value FROM json_each(?))", (consumer_id, json.dumps(list(found))))
            tally = self._tally(next(iter(found.values()))[0])
            tally.held -= len(found)
            tally.changed = True
        return found

    def accept(self, consumer_id: int, tokens: Sequence[Token]) -> list[Token]:
        found = self._let_go(consumer_id, tokens)
        if found:
            self._delete([id_ for _, _, id_, _ in found.values()])
        return [] if len(found) == len(tokens) else [token for token in tokens if token not in found]

    def give_back(self, consumer_id: int, tokens: Sequence[Token], count: int, due: float | None) -> list[Token]:
        found = self._let_go(consumer_id, tokens)
        if found:
            self._return(list(found.values()), count, due)
        return [token for token in tokens if token not in found]

    def _return(self, rows: Sequence[tuple[int, int, int, int]], count: int, due: float | None) -> None:
        """Put messages of one mailbox, as (mailbox, rank, id, count), in their place, or aside until `due`."""
        tally = self._tally(rows[0][0])
        tally.waiting += len(rows)
        tally.changed = True
        if due is not None:
            self._insert("delayed", [(mailbox, id_, rank, before + count, due) for mailbox, rank, id_, before in rows])
        else:
            self._insert("ready", [(mailbox, rank, id_, before + count) for mailbox, rank, id_, before in rows])
            self._watch([id_ for _, _, id_, _ in rows])
            tally.returned += 1
        text = json.dumps([id_ for _, _, id_, _ in rows])
        if self._db.execute(
            "SELECT 1 FROM message WHERE id IN (SELECT value FROM json_each(?)) AND (expires IS NOT NULL OR grp IS NOT NULL) LIMIT 1", (text,)
        ).fetchone():
            tally.special = 1

    def _watch(self, ids: Sequence[int]) -> None:
        """Note when messages that wait again expire."""
        self._db.execute(
            "INSERT OR IGNORE INTO expiry SELECT expires, id, mailbox FROM message WHERE expires IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )

    def give_back_all(self, consumer_id: int, unless_extended_beyond: float | None) -> int:
        rows = self._db.execute(
            "SELECT token FROM held WHERE consumer = ? AND (?2 IS NULL OR until IS NULL OR until <= ?2) ORDER BY token", (consumer_id, unless_extended_beyond)
        )
        tokens = [row[0] for row in rows.fetchall()]
        self.give_back(consumer_id, tokens, 1, None)
        return len(tokens)

    def extend(self, consumer_id: int, tokens: Sequence[Token], until: float) -> list[Token]:
        found = self._held(consumer_id, tokens)
        self._db.executemany(
            "UPDATE held SET until = max(ifnull(until, ?1), ?1) WHERE consumer = ?2 AND token = ?3", [(until, consumer_id, token) for token in found]
        )
        return [token for token in tokens if token not in found]

    def peek(self, mailbox_id: int, after: Any, limit: int) -> list[tuple[Any, Frame]]:
        destination = self._mailboxes[mailbox_id].destination
        rank, id_ = after or (-(2**31), 0)
        rows = self._db.execute(
            f"SELECT {self._COLUMNS} FROM ready r CROSS JOIN message m ON m.id = r.id "
            "WHERE r.mailbox = ? AND (r.rank, r.id) > (?, ?) ORDER BY r.rank, r.id LIMIT ?",
            (mailbox_id, rank, id_, limit),
        )
        found: list[tuple[Any, Frame]] = []
        size = 0
        for at, number, _, facts, data, body, _ in rows:
            frame = self._frame(data, body, facts, destination)
            found.append(((at, number), frame))
            size += len(frame.data)
            if size > _TAKEN:
                break
        rows.close()
        return found

    def waiting(self, mailbox_id: int) -> int:
        return self._tally(mailbox_id).waiting

    def held(self, mailbox_id: int) -> int:
        return self._tally(mailbox_id).held

    def _oldest(self, mailbox_id: int, limit: int) -> list[tuple[int, int]]:
        """Return (id, rank) of the waiting messages of lowest sequence: the first few of each rank, merged."""
        found: list[tuple[int, int]] = []
        rank = -(2**31)
        while row := self._db.execute("SELECT rank FROM ready WHERE mailbox = ? AND rank > ? ORDER BY rank LIMIT 1", (mailbox_id, rank)).fetchone():
            rank = row[0]
            found += self._db.execute("SELECT id, rank FROM ready WHERE mailbox = ? AND rank = ? ORDER BY id LIMIT ?", (mailbox_id, rank, limit)).fetchall()
        return sorted(found)[:limit]

    def _delayed(self, mailbox_id: int, limit: int) -> list[int]:
        rows = self._db.execute("SELECT id FROM delayed WHERE mailbox = ? ORDER BY due, id LIMIT ?", (mailbox_id, limit))
        return [row[0] for row in rows.fetchall()]

    def oldest(self, mailbox_id: int) -> float | None:
        if not self._tally(mailbox_id).waiting:
            return None
        first = [id_ for id_, _ in self._oldest(mailbox_id, 1)] or self._delayed(mailbox_id, 1)
        stamp: float | None = self._db.execute("SELECT stamp FROM message WHERE id = ?", first).fetchone()[0] if first else None
        return stamp

    def drop_oldest(self, mailbox_id: int, count: int) -> int:
        first = self._oldest(mailbox_id, count)
        late = self._delayed(mailbox_id, count - len(first)) if len(first) < count else []
        self._db.executemany("DELETE FROM ready WHERE mailbox = ? AND rank = ? AND id = ?", [(mailbox_id, rank, id_) for id_, rank in first])
        self._db.executemany("DELETE FROM delayed WHERE mailbox = ? AND id = ?", [(mailbox_id, id_) for id_ in late])
        return self._gone(mailbox_id, [id_ for id_, _ in first] + late)

    def _gone(self, mailbox_id: int, ids: Sequence[int]) -> int:
        """Delete messages that no longer wait, and count them."""
        if ids:
            tally = self._tally(mailbox_id)
            tally.waiting -= len(ids)
            tally.changed = True
            if tally.special:
                text = json.dumps(ids)
                pairs = self._db.execute(
                    "SELECT expires, id FROM message WHERE expires IS NOT NULL AND id IN (SELECT value FROM json_each(?))", (text,)
                ).fetchall()
                self._db.executemany("DELETE FROM expiry WHERE expires = ? AND id = ?", pairs)
            self._delete(ids)
        return len(ids)

    def purge(self, mailbox_id: int) -> int:
        tally = self._tally(mailbox_id)
        count, special = tally.waiting, tally.special
        if not count:
            return 0
        tally.waiting = tally.special = 0
        tally.changed = True
        for table in ("ready", "delayed"):
            waits = f"id IN (SELECT id FROM {table} WHERE mailbox = ?)"
            if special:
                self._db.execute(
                    f"DELETE FROM expiry WHERE (expires, id) IN (SELECT expires, id FROM message WHERE expires IS NOT NULL AND {waits})", (mailbox_id,)
                )
            shared = self._shared(waits, (mailbox_id,)) if self._has_bodies() else []
            self._db.execute(f"DELETE FROM message WHERE {waits}", (mailbox_id,))
            self._db.execute(f"DELETE FROM {table} WHERE mailbox = ?", (mailbox_id,))
            self._drop_bodies(shared)
        return count

    # Time.

    def wake(self, now: float) -> Collection[int]:
        rows = self._db.execute("SELECT mailbox, rank, id, count FROM delayed WHERE due <= ? ORDER BY mailbox, id", (now,)).fetchall()
        if not rows:
            return set()
        self._insert("ready", rows)
        self._db.execute("DELETE FROM delayed WHERE due <= ?", (now,))
        self._watch([row[2] for row in rows])
        woken = {row[0] for row in rows}
        for mailbox_id in woken:
            tally = self._tally(mailbox_id)
            tally.returned += 1
            tally.changed = True
        return woken

    def expire(self, now: float) -> Collection[int]:
        rows = self._db.execute("SELECT e.mailbox, m.rank, e.id FROM expiry e CROSS JOIN message m ON m.id = e.id WHERE e.expires <= ?", (now,)).fetchall()
        if not rows:
            return set()
        self._db.execute("DELETE FROM expiry WHERE expires <= ?", (now,))
        self._db.executemany("DELETE FROM ready WHERE mailbox = ? AND rank = ? AND id = ?", rows)
        self._delete([row[2] for row in rows])
        for mailbox_id, _, _ in rows:
            tally = self._tally(mailbox_id)
            tally.waiting -= 1
            tally.changed = True
        return {row[0] for row in rows}

    def _least(self, sql: str) -> float | None:
        value: float | None = self._db.execute(sql).fetchone()[0]
        return value

    def next_wake(self) -> float | None:
        return self._least("SELECT min(due) FROM delayed")

    def next_expiry(self) -> float | None:
        return self._least("SELECT min(expires) FROM expiry")

    def next_lapse(self) -> float | None:
        ends = [link.deadline for link in self._links.values() if not link.lapsed]
        if any(link.lapsed for link in self._links.values()):
            end = self._least(
                "SELECT min(h.until) FROM held h JOIN consumer c ON c.id = h.consumer JOIN link l ON l.id = c.link WHERE h.until IS NOT NULL AND l.lapsed"
            )
            if end is not None:
                ends.append(end)
        return min(ends, default=None)

    # Groups and deduplication.

    def owner(self, mailbox_id: int, group: str) -> int | None:
        row = self._db.execute("SELECT consumer FROM grp WHERE mailbox = ? AND name = ?", (mailbox_id, group)).fetchone()
        return None if row is None else row[0]

    def own(self, consumer: Consumer, groups: Collection[str]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO grp VALUES (?, ?, ?)", [(consumer.mailbox, group, consumer.id) for group in groups])

    def disown(self, consumer: Consumer) -> int:
        gone = self._db.execute("DELETE FROM grp WHERE consumer = ?", (consumer.id,)).rowcount
        if gone and consumer.mailbox in self._mailboxes:
            self._look_again(consumer.mailbox)
        return gone

    def _look_again(self, mailbox_id: int) -> None:
        tally = self._tally(mailbox_id)
        tally.returned += 1
        tally.changed = True

    def groups(self, mailbox_id: int) -> int:
        return int(self._db.execute("SELECT count(*) FROM grp WHERE mailbox = ?", (mailbox_id,)).fetchone()[0])

    def forget_groups(self, mailbox_id: int) -> None:
        self._db.execute(
            "DELETE FROM grp WHERE mailbox = ?1 AND name NOT IN (SELECT m.grp FROM consumer c JOIN held h ON h.consumer = c.id "
            "JOIN message m ON m.id = h.id WHERE c.mailbox = ?1 AND m.grp IS NOT NULL)",
            (mailbox_id,),
        )
        self._look_again(mailbox_id)

    def seen(self, destination: str, message_id: str, now: float) -> bool:
        return self._db.execute("SELECT 1 FROM seen WHERE destination = ? AND id = ? AND until > ?", (destination, message_id, now)).fetchone() is not None

    def remember(self, ids: Collection[tuple[str, str]], now: float, until: float, limit: int) -> None:
        last = self._db.execute("SELECT ifnull(max(number), 0) FROM seen").fetchone()[0]
        rows = [(destination, id_, until, number) for number, (destination, id_) in enumerate(ids, last + 1)]
        self._db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", rows)
        # The oldest few that are over: as many as came, and some more, so that it keeps up without ever taking long.
        self._db.execute("DELETE FROM seen WHERE number IN (SELECT number FROM seen ORDER BY number LIMIT ?) AND until <= ?", (2 * len(rows) + 8, now))
        self._db.execute("DELETE FROM seen WHERE number <= ?", (last + len(rows) - limit,))
