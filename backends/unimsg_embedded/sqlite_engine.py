"""One event loop's way into one file: operations wait, run together in one transaction, and are answered after its COMMIT.

    submit ──> waiting ──begin──> run, one after the other ──COMMIT──> answered, others woken
                          │                 └── the store failed: ROLLBACK; each again, alone, and only the guilty one fails
                          └── the turn is another's: a worker thread waits for it

What may wait (the turn, the disk, operations that touch many rows) runs in the worker thread; the rest runs in the loop's own
thread. Measured: with all of SQL in the worker, a busy loop held the interpreter lock against it for 5 ms a statement, and
900 messages a second were left of 60,000. The handle is in use by one thread at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from unimsg.broker import Broker, Full
from unimsg.broker.sqlite import SqliteStore
from unimsg.broker.sqlite_errors import store_error
from unimsg.broker.sqlite_file import judge_path, open_file
from unimsg.errors import ClosedError, MessageFormatError, StoreError, UnimsgError
from unimsg_embedded.bell import Bell
from unimsg_embedded.sqlite_peers import Peers
from unimsg_embedded.sqlite_turn import Turn

__all__ = ["Engine", "Operation"]

R = TypeVar("R")
Call = Callable[[Broker, float], Any]

GROUP = 256
"""Operations of one transaction, at most: those who come later must not wait for ever."""

LOOK = 0.5
"""Seconds between two looks at who has died, and at what others have committed (pipes tell us before)."""

LOG = 8 << 20
"""Bytes written, by our reckoning, after which the write-ahead log is copied into the file."""

VACUUM = 1024
"""Free pages (8 MiB) that a file may keep beyond a quarter of itself, and that one round of tidying gives back at most."""

_BUSY = sqlite3.SQLITE_BUSY


class Operation:
    """Something to do with the broker, in a transaction; `undo` gets its result if nobody is there any more to have it."""

    __slots__ = ("call", "durable", "error", "future", "heavy", "result", "undo")

    def __init__(self, call: Call, future: asyncio.Future[Any], durable: bool, heavy: bool, undo: Callable[[Any], Call | None] | None) -> None:
        self.call = call
        self.future = future
        self.durable = durable
        self.heavy = heavy
        self.undo = undo
        self.result: Any = None
        self.error: BaseException | None = None


class Engine:
    """Run operations on the broker in one file; see the module. All methods are for its own event loop."""

    def __init__(self, path: Path, sync: Literal["full", "normal"]) -> None:
        """Take the file's path and how sure commits are of the disk; no I/O before `open`."""
        self.path = path
        self.sync = sync
        self.users = 0
        self.bell = Bell()
        self.commits = 0
        self._loop = asyncio.get_running_loop()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="unimsg-sqlite")
        self._turn = Turn(path)
        self._peers = Peers(path)
        self._waiting: deque[Operation] = deque()
        self._task: asyncio.Task[None] | None = None
        self._in_use = True  # the handle, by the worker; or there is none
        self._written = 0
        self._changes = 0
        self._durable = True
        self._tick: asyncio.TimerHandle | None = None
        self._due = float("inf")
        self._look: asyncio.TimerHandle | None = None
        self._seen = -1
        self._untidy = False
        self._drops: dict[int, int] = {}
        self._closed = False
        self._opened = False
        self._opening: asyncio.Task[None] | None = None

    # Opening and closing.

    async def ready(self) -> None:
        """Open the file, making it if need be, and bury the dead; once, for all who share this. Raises StoreError."""
        if self._opening is None:
            self._opening = self._loop.create_task(self._start_up(), name="unimsg sqlite open")
        await asyncio.shield(self._opening)

    async def _start_up(self) -> None:
        await self._in_worker(self._open)
        self._opened = True
        if self._peers.reader >= 0:
            self._loop.add_reader(self._peers.reader, self._woken)
        self._look = self._loop.call_later(LOOK, self._look_around)
        self._rest()

    def _open(self) -> None:
        judge_path(self.path)
        try:
            self._turn.wait()
            try:
                self._db = open_file(self.path, self.sync)
                try:
                    self._join()
                except BaseException:
                    self._peers.close()
                    self._db.close()
                    raise
            finally:
                self._turn.release()
        except (sqlite3.Error, OSError) as error:
            self._turn.close()
            raise store_error(error, self.path) from error
        except BaseException:
            self._turn.close()
            raise

    def _join(self) -> None:
        self._peers.open()
        self.store = SqliteStore(self._db, self._peers.id)
        self.broker = Broker(self.store)
        self.store.begin()
        if self._peers.reader >= 0:  # who has no pipe cannot be woken, and its death not be seen: its leases run out
            self.store.add_peer(self._peers.id)
        dead = [peer for peer in self.store.peers() if self._peers.alive(peer) is False]
        self._bury(dead, time.time())
        woken = frozenset(self.broker.woken)
        self.broker.woken.clear()
        self._due = self.broker.next_due() or float("inf")
        mine = self._concerned(woken, woken)
        self.store.flush()
        self.store.commit()
        self._peers.wake(mine, woken)
        known = set(self.store.peers())
        for peer in [*dead, *(stray for stray in self._peers.strays() if stray not in known)]:
            if peer in dead or self._peers.alive(peer) is False:
                self._peers.bury(peer)
        self._db.execute("PRAGMA busy_timeout=0")

    def _bury(self, dead: list[str], now: float) -> None:
        for peer in dead:
            for link in self.store.links_of(peer):
                self.broker.disconnect(link, now)
            self.store.remove_peer(peer)

    async def close(self) -> None:
        """Finish what waits, then leave; the file keeps everything."""
        if self._opening is not None and not self._opening.done():
            await asyncio.wait([self._opening])
        while self._task is not None:
            await asyncio.wait([self._task])
            self._go_on()
        self._closed = True
        for timer in (self._look, self._tick):
            if timer is not None:
                timer.cancel()
        if not self._opened:
            self._worker.shutdown(wait=False)
            return
        if self._peers.reader >= 0:
            self._loop.remove_reader(self._peers.reader)
        self._in_use = True
        with contextlib.suppress(StoreError, sqlite3.Error, OSError):
            await self._in_worker(self._leave)
        self._worker.shutdown(wait=False)

    def _leave(self) -> None:
        try:
            self._turn.wait()
            last = False
            try:
                self._db.execute("PRAGMA busy_timeout=1000")
                self.store.begin()
                self.store.remove_peer(self._peers.id)
                last = not self.store.peers()
                self.store.flush()
                self.store.commit()
                self._tidy(1 << 20)
            except sqlite3.Error:
                self.store.rollback()
            finally:
                self._db.close()  # the last one copies the log into the file and removes it
                self._peers.close()
                if last:
                    self._turn.remove()
        finally:
            self._turn.close()

    def abandon(self) -> None:
        """Let go of the side files without a word to anybody: in a forked child, which has only copies."""
        self._closed = True
        self._peers.shut()
        self._turn.close()

    # Operations.

    def submit(self, call: Call, *, durable: bool = True, heavy: bool = False, undo: Callable[[Any], Call | None] | None = None) -> asyncio.Future[Any]:
        """Do something in the next transaction; the future has its outcome after the COMMIT.

        `durable`: only after the disk has it. `heavy`: it may touch many rows, so not in the loop's thread.
        A cancelled one is not done, or its result is handed to `undo`, which says what to do about it.
        """
        if self._closed:
            raise ClosedError(f"{self.path}: the file was closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(Operation(call, future, durable, heavy, undo))
        self._go_on()
        return future

    def _go_on(self, _: object = None) -> None:
        """See to it that somebody works while something waits: also when the task was cancelled before its first step."""
        if self._task is not None and self._task.done():
            self._task = None
        if self._waiting and self._task is None:
            self._task = self._loop.create_task(self._run(), name="unimsg sqlite")
            self._task.add_done_callback(self._go_on)
        elif self._task is None and not self._closed:
            self._rest()

    async def _run(self) -> None:
        while self._waiting:
            group: list[Operation] = []
            while self._waiting and len(group) < GROUP:
                operation = self._waiting.popleft()
                if not operation.future.cancelled():
                    group.append(operation)
            if group:
                await self._together(group)

    async def _together(self, group: list[Operation]) -> None:
        """Run a group in one transaction, or, if the store failed, each alone."""
        try:
            woken = await self._transact(group)
        except Exception as error:  # noqa: BLE001  - whatever it was, it must reach whom it concerns, and nobody else
            if len(group) > 1:
                for operation in group:
                    await self._together([operation])
                return
            group[0].error, woken = self._ours(error), frozenset()
        for operation in group:
            self._answer(operation)
        self.bell.ring(woken)

    def _ours(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error | OSError):
            return store_error(error, self.path)
        if isinstance(error, UnicodeEncodeError):
            return MessageFormatError(f"a name or a group holds a character that cannot be kept: {error.object[error.start : error.end]!r:.40}")
        return error

    def _answer(self, operation: Operation) -> None:
        future = operation.future
        if operation.error is not None:
            if not future.done():
                future.set_exception(operation.error)
        elif not future.done():
            future.set_result(operation.result)
        else:
            self.undo(operation.undo, operation.result)

    def undo(self, undo: Callable[[Any], Call | None] | None, result: Any) -> None:
        """Do what makes up for a result that nobody has received."""
        call = undo(result) if undo is not None else None
        if call is not None and not self._closed:
            self.submit(call).add_done_callback(lambda future: future.cancelled() or future.exception())

    async def _transact(self, group: list[Operation]) -> frozenset[int]:
        """Run a group between BEGIN and COMMIT; return the mailboxes in which something changed."""
        durable = any(operation.durable for operation in group)
        await self._begin(durable)
        try:
            room: set[int] = set()
            for operation in group:
                before = len(self.broker.woken)
                operation.result = operation.error = None
                try:
                    now = time.time()
                    operation.result = await self._in_worker(operation.call, self.broker, now) if operation.heavy else operation.call(self.broker, now)
                except (UnimsgError, Full) as error:
                    operation.error = error
                if not operation.durable and len(self.broker.woken) > before:
                    room |= self.broker.woken  # taking has woken somebody: those who wait for room, maybe elsewhere
            woken = frozenset(self.broker.woken)
            self._due = self.broker.next_due() or float("inf")
            peers = self._concerned(woken, room)
            self.store.flush()
            if (durable and self.sync == "full") or self._written >= LOG:
                await self._in_worker(self._commit)
            else:
                self.store.commit()
        except BaseException:
            if self._db.in_transaction:
                await self._in_worker(self.store.rollback)
            else:
                self.store.rollback()
            raise
        finally:
            self.broker.woken.clear()
            self._turn.release()
        self.commits += 1
        self._reckon()
        self._peers.wake(peers, woken)
        return woken

    async def _begin(self, durable: bool) -> None:
        if self._turn.try_now():
            try:
                self._start(durable)
            except sqlite3.OperationalError as error:
                self.store.rollback()
                self._turn.release()
                if error.sqlite_errorcode & 0xFF != _BUSY:
                    raise
            except BaseException:
                self.store.rollback()
                self._turn.release()
                raise
            else:
                return
        await self._in_worker(self._begin_later, durable)

    def _start(self, durable: bool) -> None:
        if durable != self._durable and self.sync == "full":
            self._db.execute(f"PRAGMA synchronous={'full' if durable else 'normal'}")
            self._durable = durable
        self.store.begin()

    def _begin_later(self, durable: bool) -> None:
        """Wait for our turn, and then for programs that take no turns (a backup, a shell)."""
        self._turn.wait()
        try:
            self._db.execute("PRAGMA busy_timeout=30000")
            try:
                self._start(durable)
            finally:
                self._db.execute("PRAGMA busy_timeout=0")
        except BaseException:
            self.store.rollback()
            self._turn.release()
            raise

    def _commit(self) -> None:
        self.store.commit()
        if self._written >= LOG:
            self._copy_log()

    def _copy_log(self) -> None:
        """Copy the log into the file, while it is our turn: no other process of ours is reading, so all of it goes."""
        self._written = 0
        try:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._tidy(VACUUM)
        except sqlite3.Error:
            # What is committed is in the log and stays there; the next round tries again, and a full disk shows in a commit.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _tidy(self, most: int) -> None:
        """Give free pages at the end of the file back to the file system, if there are many."""
        free, pages = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
        spare = free - max(pages // 4, VACUUM)
        self._untidy = spare > 0
        if spare > 0:
            self._db.executescript(f"PRAGMA incremental_vacuum({min(spare, most)})")  # `execute` would step it once: one page

    def _reckon(self) -> None:
        """Reckon how much the log has grown: a changed row dirties a page, most of the time one that is dirty already."""
        changes = self._db.total_changes
        self._written += 600 * (changes - self._changes) + 16_384
        self._changes = changes

    async def _in_worker(self, call: Callable[..., R], *arguments: Any) -> R:
        """Run something in the worker thread, to its end, whatever is cancelled meanwhile."""
        self._in_use = True
        try:
            future = self._loop.run_in_executor(self._worker, call, *arguments)
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            return future.result()
        finally:
            self._in_use = False

    # Waking, and being woken.

    def _concerned(self, woken: frozenset[int], room: set[int] | frozenset[int]) -> set[str]:
        """Return the processes that listen to the mailboxes; all of them if publishers may wait for room."""
        links: set[str] = set()
        for mailbox_id in woken:
            mailbox = self.store.mailbox(mailbox_id)
            if mailbox is None or (mailbox_id in room and mailbox.overflow is not None and mailbox.overflow.policy == "block"):
                return set(self.store.peers()) - {self._peers.id}
            links.update(consumer.link for consumer in self.store.consumers(mailbox_id))
        return self.store.peers_of(links) - {self._peers.id}

    def _woken(self) -> None:
        """Hear from another process."""
        mailboxes = self._peers.drain()
        if mailboxes is None:
            self.bell.ring_all()
        else:
            self.bell.ring(mailboxes)

    def _rest(self) -> None:
        """Set the timer to what is due next."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._due != float("inf"):
            self._tick = self._loop.call_later(max(self._due - time.time(), 0) + 0.002, self._act)

    def _act(self) -> None:
        self._tick = None
        self._quietly(lambda broker, now: broker.tick(now))

    def _quietly(self, call: Call) -> None:
        """Do something that nobody waits for: a store that fails shows in the next operation that somebody does wait for."""

        def done(future: asyncio.Future[Any]) -> None:
            if not future.cancelled() and future.exception() is not None:
                self._due = time.time() + 1.0

        if not self._closed:
            self.submit(call, durable=False).add_done_callback(done)

    def _look_around(self) -> None:
        """Look whether somebody has died, and whether something was committed that no pipe told us of."""
        self._look = self._loop.call_later(LOOK, self._look_around)
        if self._in_use or self._task is not None or self._db.in_transaction:
            return
        try:
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            peers = self.store.peers()
        except sqlite3.Error:
            return
        dead = [peer for peer in peers if self._peers.alive(peer) is False]
        if dead:
            self.submit(lambda _broker, now: self._bury_again(dead, now), durable=False).add_done_callback(
                lambda future: future.cancelled() or future.exception()
            )
        elif self._untidy:
            self._written = LOG
            self._quietly(lambda _broker, _now: None)
        if version != self._seen:
            self._seen = version
            self.bell.ring_all()

    def _bury_again(self, dead: list[str], now: float) -> None:
        still = [peer for peer in dead if peer in self.store.peers() and self._peers.alive(peer) is False]
        self._bury(still, now)
        for peer in still:
            self._peers.bury(peer)

    def dropped(self, consumer: int) -> int:
        """Return how many messages a consumer's subscription has dropped, as far as can be told without waiting."""
        if not self._in_use and not self._closed and not self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                row = self._db.execute("SELECT t.dropped FROM consumer c JOIN tally t ON t.mailbox = c.mailbox WHERE c.id = ?", (consumer,)).fetchone()
                if row is not None:
                    self._drops[consumer] = row[0]
        return self._drops.get(consumer, 0)

    @property
    def database(self) -> sqlite3.Connection:
        """Return SQLite's own connection."""
        return self._db
