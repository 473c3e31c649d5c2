"""Queues whose name is an address: `xmpp:user@domain`, as RFC 5122 writes it."""

from __future__ import annotations

from typing import Any

from slixmpp import JID, InvalidJID

from unimsg.destination import Destination
from unimsg.errors import InvalidDestinationError

__all__ = ["SCHEME", "address_of"]

SCHEME = "xmpp:"


def address_of(destination: Destination[Any]) -> str | None:
    """Return the address that a queue's name is, None if it is no such queue. Raises InvalidDestinationError."""
    if destination.kind != "queue" or not destination.name.startswith(SCHEME):
        return None
    try:
        jid = JID(destination.name[len(SCHEME) :])
    except InvalidJID as error:
        raise InvalidDestinationError(f"{destination}: no XMPP address: {error}") from None
    if not jid.local:
        raise InvalidDestinationError(f"{destination}: write queue:xmpp:user@domain, or with a resource")
    return str(jid)
