"""Transactions: `<commit>`, in one stanza or in parts; the last part does all of it or nothing.

A part that was refused spoils its transaction: whatever follows under the same id is rolled back, never done by halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from unimsg.driver import Frame, Outcome, Receiver, Settlement
from unimsg.errors import ResourceAllocationError, TransactionRolledBackError
from unimsg_xmpp.protocol import MANY, BadRequestError, element, flag, named, number
from unimsg_xmpp.service.settling import Group, groups_of
from unimsg_xmpp.service.submissions import frames_of

if TYPE_CHECKING:
    from unimsg_xmpp.service.session import Session
    from unimsg_xmpp.service.subscriber import Subscriber

__all__ = ["Transactions"]

UNFINISHED = 64
"""Transactions of a session of which only parts have come."""


class Transaction:
    """What has come of a transaction."""

    def __init__(self) -> None:
        self.parts = 0
        self.frames: list[Frame] = []
        self.settled: list[tuple[str, list[Group]]] = []
        self.bytes = 0
        self.settlements = 0
        self.spoiled = False


class Transactions:
    """The transactions of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unfinished: dict[str, Transaction] = {}

    def spoil(self, kid: Element) -> None:
        """Note that a part was refused before it was looked at."""
        name = kid.get("id", "")
        if kid.get("more") == "true":
            if name in self._unfinished or len(self._unfinished) < UNFINISHED:
                self._unfinished.setdefault(name, Transaction()).spoiled = True
        else:
            self._unfinished.pop(name, None)

    async def commit(self, kid: Element) -> str:
        """Keep a part, or do the whole. Raises TransactionRolledBackError, ResourceAllocationError, and what refuses a message."""
        more = kid.get("more") == "true"
        try:
            transaction = self._add(kid)
        except BaseException:
            self.spoil(kid)
            raise
        if not more:
            await self._do(transaction)
        return element("committed")

    def _add(self, kid: Element) -> Transaction:
        name, more = kid.get("id", ""), flag(kid, "more")
        if not self._session.name.fullmatch(name):
            raise BadRequestError("<commit> has id=, a name of 1 to 64 letters, digits and . _ : -")
        transaction = self._unfinished.pop(name, None) or Transaction()
        transaction.parts += 1
        if more:
            if len(self._unfinished) >= UNFINISHED:
                raise ResourceAllocationError(f"a session has at most {UNFINISHED} unfinished transactions")
            self._unfinished[name] = transaction
        if transaction.spoiled or number(kid, "part", transaction.parts, least=1) != transaction.parts:
            raise TransactionRolledBackError(f"a part of the transaction {name} was refused or did not come: nothing of it is done")
        for part in kid:
            if named(part) == "submit":
                frames, failures, _ = frames_of(self._session, part)
                if failures:
                    raise failures[min(failures)]
                transaction.frames += frames
                transaction.bytes += sum(len(frame.data) for frame in frames)
            elif named(part) == "settle":
                groups = groups_of(part, MANY - transaction.settlements)
                transaction.settled.append((part.get("consumer", ""), groups))
                transaction.settlements += sum(len(group.numbers) for group in groups)
            else:
                raise BadRequestError(f"<commit> holds <submit> and <settle>, not <{named(part) or part.tag[:60]}>")
        most = self._session.limits.commit_bytes
        if transaction.bytes + sum(each.bytes for each in self._unfinished.values() if each is not transaction) > most:
            raise ResourceAllocationError(f"unfinished transactions hold over {most} bytes")
        return transaction

    async def _do(self, transaction: Transaction) -> None:
        settlements: list[tuple[Receiver, list[Settlement]]] = []
        done: list[tuple[Subscriber, list[int]]] = []
        for name, groups in transaction.settled:
            subscriber = self._session.subscribers.get(name)
            if subscriber is None or not await subscriber.attached:
                raise TransactionRolledBackError(f"the consumer {name!r:.80} is gone, and with it its deliveries")
            listed: list[Settlement] = []
            for outcome, delay, numbers, _ in groups:
                if outcome is None:
                    raise BadRequestError("a transaction rejects nothing: submit the dead letter and accept the delivery")
                held, stale = subscriber.tokens(numbers)
                if stale:
                    raise TransactionRolledBackError(f"{len(stale)} of the deliveries in this transaction are no longer ours")
                listed += [Settlement(subscriber.held[place].token, outcome, delay if outcome is Outcome.RELEASE else 0.0) for place in held]
                done.append((subscriber, held))
            settlements.append((subscriber.receiver, listed))
        await self._session.driver.commit(transaction.frames, settlements)
        for subscriber, held in done:
            for place in held:
                subscriber.held.pop(place, None)
