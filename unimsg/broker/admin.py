"""What there is: declaring, deleting, purging, browsing and inspecting destinations and subscriptions."""

from __future__ import annotations

from typing import Any

from unimsg.broker.attach import find_subscription, own_temporary
from unimsg.broker.gate import matcher
from unimsg.broker.store import Link, Mailbox, Store
from unimsg.destination import Destination
from unimsg.driver import DestinationInfo, Frame
from unimsg.errors import ConnectionLostError, IllegalStateError, InvalidDestinationError

__all__ = ["Admin"]

SCANNED = 1000
"""Messages that one page of a browse looks at, at most: no other operation waits longer than that takes."""


class Admin:
    """The part of the broker that looks after mailboxes as such. `link_id` is the connection that asks."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.woken: set[int] = set()

    def _link(self, link_id: str) -> Link:
        link = self.store.link(link_id)
        if link is None:
            raise ConnectionLostError("the broker has given this connection up: it showed no sign of life in time, and another took its place")
        return link

    def declare(self, destination: Destination[Any], link_id: str, now: float) -> None:
        """Make a queue, or a temporary destination of this connection; a topic needs no making.

        Raises InvalidDestinationError for a pattern, and for a temporary name that does not start with the connection's id.
        """
        del now
        link, text = self._link(link_id), str(destination)
        if destination.is_pattern:
            raise InvalidDestinationError(f"{text}: a pattern is for listening, it names no destination")
        if destination.is_temporary:
            if not destination.name.startswith(link.id):
                raise InvalidDestinationError(f"{text}: a temporary destination's name starts with the id of its connection")
            if self.store.temporary(text) not in (None, link.id):
                raise InvalidDestinationError(f"{text} belongs to another connection")
            self.store.add_temporary(text, link.id)
        if not destination.is_topic and self.store.queue(text) is None:
            self.store.add_mailbox(Mailbox(0, destination, owner=link.id if destination.is_temporary else None))

    def delete(self, destination: Destination[Any], link_id: str, now: float) -> None:
        """Remove a queue with what is in it, or a temporary destination.

        Raises InvalidDestinationError if it is not there or is another's, IllegalStateError while it has consumers.
        """
        del now
        link, text = self._link(link_id), str(destination)
        if destination.is_temporary:
            own_temporary(self.store, destination, link)
        mailboxes = [each for each in self.store.mailboxes() if str(each.destination) == text]
        if not mailboxes and not destination.is_temporary:
            raise InvalidDestinationError(f"{text} is not there")
        consumers = sum(len(self.store.consumers(each.id)) for each in mailboxes)
        if consumers:
            raise IllegalStateError(f"{text} has {consumers} consumer{'s' * (consumers > 1)}: close {'them' if consumers > 1 else 'it'} first")
        if destination.is_topic and mailboxes:
            names = ", ".join(repr(each.subscription) for each in mailboxes)
            raise IllegalStateError(f"{text} holds nothing but the messages of its durable subscriptions: unsubscribe {names}")
        if destination.is_temporary:
            self._remove_temporary(text)
        for mailbox in mailboxes:
            self.store.remove_mailbox(mailbox.id)

    def _remove_temporary(self, text: str) -> None:
        """Remove a temporary destination with its mailboxes, whoever listens."""
        for mailbox in self.store.mailboxes():
            if mailbox.destination.is_temporary and str(mailbox.destination) == text:
                self.woken.add(mailbox.id)
                self.store.remove_mailbox(mailbox.id)
        self.store.remove_temporary(text)

    def unsubscribe(self, subscription: str, link_id: str, now: float) -> None:
        """Remove a durable subscription and what it has collected.

        Raises InvalidDestinationError if this client id has none of that name, IllegalStateError while somebody listens.
        """
        del now
        link = self._link(link_id)
        found = find_subscription(self.store, subscription, link.client_id, durable=True)
        if found is None:
            whose = "this connection, which has no client id," if link.client_id is None else f"the client id {link.client_id!r}"
            raise InvalidDestinationError(f"{whose} has no durable subscription {subscription!r}")
        if self.store.consumers(found.id):
            raise IllegalStateError(f"the subscription {subscription!r} has an active consumer: close it first (JMS 3.1 §8.3.3)")
        self.store.remove_mailbox(found.id)

    def purge(self, destination: Destination[Any], subscription: str | None, link_id: str, now: float) -> int:
        """Remove what waits in a queue or a subscription; return how many. What consumers hold stays theirs.

        Raises InvalidDestinationError if there is no such thing, or if the name alone does not tell which.
        """
        del now
        link, text = self._link(link_id), str(destination)
        found = [each for each in self.store.mailboxes() if str(each.destination) == text and each.subscription == subscription]
        if destination.is_topic and subscription is None:
            raise InvalidDestinationError(f"{text}: a topic holds no messages, its subscriptions do: say which")
        if len(found) > 1:
            found = [each for each in found if each.client_id == link.client_id]
        if len(found) != 1:
            named = "" if subscription is None else f"the subscription {subscription!r} of "
            reason = "is not there" if not found else "is there several times, under several client ids: connect with one of them"
            raise InvalidDestinationError(f"{named}{text} {reason}")
        self.woken.add(found[0].id)
        return self.store.purge(found[0].id)

    def browse(self, destination: Destination[Any], selector: str | None, after: Any, limit: int, link_id: str, now: float) -> tuple[list[Frame], Any]:
        """Return up to `limit` frames of a queue that could be taken now, in order, and where to go on (`after`), None at the end.

        A page may be short, even empty, and not the last. Raises InvalidDestinationError for a topic or another's temporary
        queue, InvalidSelectorError.
        """
        link = self._link(link_id)
        if destination.is_topic:
            raise InvalidDestinationError(f"{destination}: a topic cannot be browsed, it holds no messages")
        if destination.is_temporary:
            own_temporary(self.store, destination, link)
        matches, mailbox = matcher(selector), self.store.queue(str(destination))
        self.woken.update(self.store.wake(now))
        found: list[Frame] = []
        if mailbox is None:
            return found, None
        page = self.store.peek(mailbox.id, after, SCANNED)
        for place, frame in page:
            route = frame.route
            if (route.expires_at is None or route.expires_at > now) and (matches is None or matches(route)):
                found.append(frame)
                if len(found) == limit:
                    return found, place
        return found, page[-1][0] if len(page) == SCANNED else None

    def inspect(self, now: float) -> list[DestinationInfo]:
        """Return queues and subscriptions, in order of kind and name: depth (waiting and delayed), in flight, consumers, oldest."""
        store = self.store
        self.woken.update(store.wake(now))
        self.woken.update(store.expire(now))
        found = [
            DestinationInfo(
                mailbox.destination,
                store.waiting(mailbox.id),
                store.held(mailbox.id),
                len(store.consumers(mailbox.id)),
                mailbox.subscription,
                store.oldest(mailbox.id),
            )
            for mailbox in store.mailboxes()
        ]
        return sorted(found, key=lambda info: (str(info.destination), info.subscription or ""))
