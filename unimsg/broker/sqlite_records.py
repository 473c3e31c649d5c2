"""The small records of the SQLite store: links, mailboxes, consumers, temporaries, kept in memory as long as nobody changed them.

`state.records` grows with every change of a mailbox or a temporary, `state.roster` with every change of a link or a
consumer; at the start of each transaction they tell whether another process has changed something, and what to read again.
"""
# ruff: noqa: D102  - what a method promises stands in `Store`

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from unimsg.broker.store import Consumer, Link, Mailbox
from unimsg.destination import parse_destination
from unimsg.driver import Overflow

__all__ = ["Records", "State"]


class State:
    """The counters of the file: the next ids, and how often records have changed."""

    __slots__ = ("consumer", "mailbox", "message", "records", "roster", "token")

    def __init__(self, row: Sequence[int]) -> None:
        self.message, self.token, self.mailbox, self.consumer, self.records, self.roster = row

    def row(self) -> tuple[int, ...]:
        """Return the counters as the file has them."""
        return self.message, self.token, self.mailbox, self.consumer, self.records, self.roster


class Records:
    """Links, mailboxes, consumers and temporary destinations; part of `SqliteStore`."""

    def __init__(self, database: sqlite3.Connection, peer: str) -> None:
        self._db = database
        self._peer = peer
        self._state = State((0,) * 6)
        self._epoch = 0  # grows with every rollback: what was cached before it may never have been
        self._forget_records()

    def _forget_records(self) -> None:
        self._epoch += 1
        self._known_records = self._known_roster = -1

    def _refresh(self) -> None:
        """Read again what others have changed."""
        if self._known_records != self._state.records:
            self._load_mailboxes()
            self._known_records = self._state.records
        if self._known_roster != self._state.roster:
            self._load_roster()
            self._known_roster = self._state.roster

    def _load_mailboxes(self) -> None:
        self._mailboxes: dict[int, Mailbox] = {}
        self._queues: dict[str, Mailbox] = {}
        rows = self._db.execute(
            "SELECT id, destination, subscription, client_id, durable, shared, selector, no_local, owner, overflow, overflow_limit, cut "
            "FROM mailbox ORDER BY id"
        )
        for id_, destination, subscription, client_id, durable, shared, selector, no_local, owner, overflow, limit, cut in rows.fetchall():
            mailbox = Mailbox(
                id_, parse_destination(destination), subscription, client_id, bool(durable), bool(shared), selector, bool(no_local), owner,
                None if overflow is None else Overflow(overflow, limit), bool(cut),
            )  # fmt: skip
            self._mailboxes[id_] = mailbox
            if mailbox.is_queue:
                self._queues[destination] = mailbox
        self._temporaries: dict[str, str] = dict(self._db.execute("SELECT destination, link FROM temporary").fetchall())

    def _load_roster(self) -> None:
        rows = self._db.execute("SELECT id, client_id, lease, deadline, lapsed FROM link ORDER BY id").fetchall()
        self._links: dict[str, Link] = {id_: Link(id_, client_id, lease, deadline, bool(lapsed)) for id_, client_id, lease, deadline, lapsed in rows}
        self._consumers: dict[int, Consumer] = {}
        self._listening: dict[int, dict[int, Consumer]] = {}
        for row in self._db.execute("SELECT id, link, mailbox, selector FROM consumer ORDER BY id").fetchall():
            self._keep_consumer(Consumer(*row))

    def _keep_consumer(self, consumer: Consumer) -> None:
        self._consumers[consumer.id] = consumer
        self._listening.setdefault(consumer.mailbox, {})[consumer.id] = consumer

    def _changed_records(self) -> None:
        self._state.records += 1
        self._known_records = self._state.records

    def _changed_roster(self) -> None:
        self._state.roster += 1
        self._known_roster = self._state.roster

    @property
    def generation(self) -> object:
        return self._epoch, self._state.records

    def add_link(self, link: Link) -> None:
        self._db.execute(
            "INSERT INTO link (id, client_id, lease, deadline, lapsed, peer) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
            "SET client_id = excluded.client_id, lease = excluded.lease, deadline = excluded.deadline, lapsed = excluded.lapsed",
            (*link, self._peer),
        )
        self._links[link.id] = link
        self._changed_roster()

    def link(self, link_id: str) -> Link | None:
        return self._links.get(link_id)

    def links(self) -> Collection[Link]:
        return list(self._links.values())

    def remove_link(self, link_id: str) -> None:
        self._db.execute("DELETE FROM link WHERE id = ?", (link_id,))
        self._links.pop(link_id, None)
        self._changed_roster()

    def add_mailbox(self, mailbox: Mailbox) -> Mailbox:
        if not mailbox.id:
            mailbox = mailbox._replace(id=self._state.mailbox)
            self._state.mailbox += 1
            self._db.execute("INSERT INTO tally VALUES (?, 0, 0, 0, 0, 0)", (mailbox.id,))
        overflow = mailbox.overflow or (None, None)
        row: tuple[Any, ...] = (mailbox.id, str(mailbox.destination), *mailbox[2:9], *overflow, mailbox.cut)
        self._db.execute("INSERT OR REPLACE INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._mailboxes[mailbox.id] = mailbox
        if mailbox.is_queue:
            self._queues[str(mailbox.destination)] = mailbox
        self._changed_records()
        return mailbox

    def mailbox(self, mailbox_id: int) -> Mailbox | None:
        return self._mailboxes.get(mailbox_id)

    def queue(self, destination: str) -> Mailbox | None:
        return self._queues.get(destination)

    def mailboxes(self) -> Collection[Mailbox]:
        return list(self._mailboxes.values())

    def _remove_mailbox(self, mailbox: Mailbox) -> None:
        self._db.execute("DELETE FROM mailbox WHERE id = ?", (mailbox.id,))
        self._db.execute("DELETE FROM tally WHERE mailbox = ?", (mailbox.id,))
        del self._mailboxes[mailbox.id]
        if mailbox.is_queue:
            del self._queues[str(mailbox.destination)]
        self._changed_records()

    def add_consumer(self, consumer: Consumer) -> Consumer:
        consumer = consumer._replace(id=self._state.consumer)
        self._state.consumer += 1
        self._db.execute("INSERT INTO consumer VALUES (?, ?, ?, ?)", consumer)
        self._keep_consumer(consumer)
        self._changed_roster()
        return consumer

    def consumer(self, consumer_id: int) -> Consumer | None:
        return self._consumers.get(consumer_id)

    def consumers(self, mailbox_id: int | None = None, link_id: str | None = None) -> Sequence[Consumer]:
        found = self._consumers if mailbox_id is None else self._listening.get(mailbox_id, {})
        return [each for each in found.values() if link_id is None or each.link == link_id]

    def _remove_consumer(self, consumer: Consumer) -> None:
        self._db.execute("DELETE FROM consumer WHERE id = ?", (consumer.id,))
        del self._consumers[consumer.id]
        self._listening[consumer.mailbox].pop(consumer.id, None)
        self._changed_roster()

    def add_temporary(self, destination: str, link_id: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO temporary VALUES (?, ?)", (destination, link_id))
        self._temporaries[destination] = link_id
        self._changed_records()

    def temporary(self, destination: str) -> str | None:
        return self._temporaries.get(destination)

    def temporaries(self, link_id: str) -> Sequence[str]:
        return [destination for destination, owner in self._temporaries.items() if owner == link_id]

    def remove_temporary(self, destination: str) -> None:
        self._db.execute("DELETE FROM temporary WHERE destination = ?", (destination,))
        self._temporaries.pop(destination, None)
        self._changed_records()

    # Whose links these are: processes come and go, and a link that its process has left is dead.

    def add_peer(self, peer: str) -> None:
        """Keep that a process uses the file."""
        self._db.execute("INSERT OR REPLACE INTO peer VALUES (?)", (peer,))

    def peers(self) -> list[str]:
        """Return the processes that use the file, or died using it."""
        return [row[0] for row in self._db.execute("SELECT id FROM peer ORDER BY id").fetchall()]

    def remove_peer(self, peer: str) -> None:
        """Forget a process; its links must be gone."""
        self._db.execute("DELETE FROM peer WHERE id = ?", (peer,))

    def links_of(self, peer: str) -> list[str]:
        """Return the links of a process."""
        return [row[0] for row in self._db.execute("SELECT id FROM link WHERE peer = ?", (peer,)).fetchall()]

    def peers_of(self, links: Collection[str]) -> set[str]:
        """Return the processes of links."""
        if not links:
            return set()
        marks = ",".join("?" * len(links))
        return {row[0] for row in self._db.execute(f"SELECT DISTINCT peer FROM link WHERE id IN ({marks})", tuple(links)).fetchall()}  # noqa: S608  (marks)
