"""What a source names: the queue, or one of the four kinds of subscription, made, found again or refused.

Jakarta Messaging 3.1 §8.3: an unshared live one is new each time; a shared live one lasts until its last consumer leaves;
durable ones last until `unsubscribe`. The names of durable and of shared live ones are two spaces, each within a client id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unimsg.broker.gate import matcher
from unimsg.broker.store import Link, Mailbox, Store
from unimsg.destination import Destination
from unimsg.driver import Source
from unimsg.errors import IllegalStateError, InvalidDestinationError

__all__ = ["find_subscription", "mailbox_for", "own_temporary"]


def own_temporary(store: Store, destination: Destination[Any], link: Link) -> None:
    """Refuse a temporary destination that is another connection's, or gone. Raises InvalidDestinationError."""
    owner = store.temporary(str(destination))
    if owner is None:
        raise InvalidDestinationError(f"{destination} is gone, or was never made: declare a temporary destination on this connection first")
    if owner != link.id:
        raise InvalidDestinationError(f"{destination} belongs to another connection: only its own may consume from it")


def find_subscription(store: Store, name: str, client_id: str | None, durable: bool) -> Mailbox | None:
    """Return the durable or shared live subscription of this name within a client id."""
    for mailbox in store.mailboxes():
        if mailbox.subscription == name and mailbox.client_id == client_id and mailbox.durable == durable:
            return mailbox
    return None


def mailbox_for(store: Store, source: Source, link: Link, create: bool, evict: Callable[[Mailbox], None]) -> Mailbox:
    """Return the mailbox of a source, made if need be.

    `evict` is asked to remove the consumers of connections that have lapsed. Raises InvalidDestinationError,
    InvalidSelectorError, and IllegalStateError for a subscription that is in use or of another kind.
    """
    matcher(source.selector)  # judged now, not with the first message
    if source.destination.is_temporary:
        own_temporary(store, source.destination, link)
    if not source.destination.is_topic:
        return _queue(store, source, create)
    name = source.subscription
    if (source.durable or source.shared) != (name is not None):
        raise IllegalStateError(f"{source.destination}: a durable or shared subscription has a name, and no other has (subscription={name!r})")
    if source.shared and source.no_local:
        raise IllegalStateError(f"{source.destination}: a shared subscription cannot be no_local (JMS 3.1 §8.3.2)")
    if source.durable and source.destination.is_temporary:
        raise InvalidDestinationError(f"{source.destination}: a durable subscription would outlive its temporary topic")
    wanted = Mailbox(
        0,
        source.destination,
        name,
        None if name is None else link.client_id,
        source.durable,
        source.shared,
        source.selector,
        source.no_local,
        None if name is not None else link.id,
        None if source.durable else source.overflow,
    )
    if name is None:
        return store.add_mailbox(wanted)
    if source.durable and not source.shared and link.client_id is None:
        raise IllegalStateError(f"the durable subscription {name!r} needs a client id, or shared=True: connect(url, client_id=…)")
    return _named(store, wanted, evict)


def _queue(store: Store, source: Source, create: bool) -> Mailbox:
    if source.subscription is not None or source.durable or source.shared or source.no_local:
        raise IllegalStateError(f"{source.destination}: subscriptions and no_local are for topics; a queue has consumers only")
    mailbox = store.queue(str(source.destination))
    if mailbox is None:
        if not create:
            raise InvalidDestinationError(f"{source.destination} is not there, and the URL says create=require: declare it first")
        mailbox = store.add_mailbox(Mailbox(0, source.destination))
    return mailbox


def _named(store: Store, wanted: Mailbox, evict: Callable[[Mailbox], None]) -> Mailbox:
    name = wanted.subscription
    found = find_subscription(store, name or "", wanted.client_id, wanted.durable)
    if found is None:
        return store.add_mailbox(wanted)
    if found.shared != wanted.shared:
        kinds = ("shared", "unshared") if found.shared else ("unshared", "shared")
        raise IllegalStateError(f"the durable subscription {name!r} is {kinds[0]}, not {kinds[1]}: unsubscribe it first, or take another name")
    same = (found.destination, found.selector, found.no_local) == (wanted.destination, wanted.selector, wanted.no_local)
    if same and found.shared:
        return found
    evict(found)
    if store.consumers(found.id):
        if same:
            raise IllegalStateError(f"the durable subscription {name!r} has an active consumer already: share it, or close that one")
        raise IllegalStateError(
            f"the subscription {name!r} is in use with {found.destination} and selector {found.selector!r}: another topic or selector must wait until it is not"
        )
    if same and store.mailbox(found.id) is not None:
        return found
    store.remove_mailbox(found.id)  # §8.3.3: changing it is unsubscribing and making a new one
    return store.add_mailbox(wanted)
