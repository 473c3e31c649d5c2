"""Settling: what `<settle>` says became of deliveries, and the dead letters of those that it rejects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element

from unimsg.deadletter import dead_queue, letter
from unimsg.driver import Delivery, Frame, Outcome, Settlement
from unimsg.errors import ResourceAllocationError, TransactionRolledBackError
from unimsg_xmpp.protocol import MANY, BadRequestError, element, named, numbers, ranges, seconds

if TYPE_CHECKING:
    from unimsg_xmpp.service.session import Session
    from unimsg_xmpp.service.subscriber import Subscriber

__all__ = ["Group", "bury", "groups_of", "settle", "stale_text"]

REASON = 1000
"""Characters of a reason that are kept."""
LONG = 65_536
"""Characters of a list of stale deliveries, at most: the answer must fit a stanza."""
_OUTCOMES: dict[str, Outcome | None] = {"reject": None, **{outcome.value: outcome for outcome in Outcome}}


class Group(NamedTuple):
    """Deliveries settled alike; no outcome: rejected."""

    outcome: Outcome | None
    delay: float
    numbers: list[int]
    reason: str


def groups_of(kid: Element, most: int = MANY) -> list[Group]:
    """Read `<settle>`; `most` numbers in all. Raises BadRequestError."""
    groups: list[Group] = []
    for part in kid:
        name = named(part)
        if name not in _OUTCOMES:
            raise BadRequestError(f"<settle> holds accept, release, unseen and reject, not <{name or part.tag[:60]}>")
        outcome = _OUTCOMES[name]
        delay = seconds(part, "delay", 0.0) if outcome is Outcome.RELEASE else 0.0
        found = numbers(part.get("deliveries", ""), most)
        most -= len(found)
        groups.append(Group(outcome, delay, found, part.get("reason", "rejected")[:REASON]))
    return groups


def stale_text(stale: list[int]) -> str | None:
    """Write what was stale, None if nothing was. Raises ResourceAllocationError for what would fit no stanza."""
    text = ranges(stale)
    if len(text) > LONG:
        raise ResourceAllocationError(f"{len(stale)} of the deliveries were stale, here and there: too many to name; the others were settled")
    return text or None


async def settle(session: Session, subscriber: Subscriber, kid: Element) -> str:
    """Settle what a `<settle>` says, and answer with what was stale. Everything is read before anything is done."""
    groups = groups_of(kid)
    rejected = [group for group in groups if group.outcome is None]
    claims = [(group.reason, *subscriber.claim(group.numbers)) for group in rejected]
    stale = [number for _, _, missing in claims for number in missing]
    try:
        stale += await subscriber.settle([(group.outcome, group.delay, group.numbers) for group in groups if group.outcome is not None])
    except BaseException:
        for _, claimed, _ in claims:
            subscriber.held.update(claimed)
        raise
    for reason, claimed, _ in claims:
        stale += await bury(session, subscriber, claimed, reason)
    return element("settled", {"stale": stale_text(stale)})


async def bury(session: Session, subscriber: Subscriber, claimed: Mapping[int, Delivery], reason: str) -> list[int]:
    """Move deliveries to the dead letters, with their acknowledgements in one transaction; return which were stale."""
    if not claimed:
        return []

    def dead(number: int, delivery: Delivery) -> Frame:
        to = dead_queue(subscriber.source, delivery)
        return letter(delivery, delivery.frame.route.destination, to, reason, f"ID:{session.connection_id}-{subscriber.name}-dead-{number}")

    async def move(some: Mapping[int, Delivery]) -> None:
        letters = [dead(number, delivery) for number, delivery in some.items()]
        await session.driver.commit(letters, [(subscriber.receiver, [Settlement(delivery.token) for delivery in some.values()])])

    stale: list[int] = []
    left = dict(claimed)
    try:
        try:
            await move(claimed)
        except TransactionRolledBackError:
            for number, delivery in claimed.items():
                try:
                    await move({number: delivery})
                except TransactionRolledBackError:
                    stale.append(number)
                del left[number]
    except BaseException:
        subscriber.held.update(left)
        raise
    return stale
