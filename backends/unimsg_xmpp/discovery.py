"""Finding the service of a domain by asking (XEP-0030): first where it usually is, then what the server lists."""

from __future__ import annotations

import asyncio

from unimsg.errors import ConnectionLostError
from unimsg_xmpp.protocol import NAMESPACE
from unimsg_xmpp.stream import StanzaError, Stream, escape

__all__ = ["features_of", "find_service", "items_of"]

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
MANY = 50
"""Items of a domain that are asked."""


async def features_of(stream: Stream, jid: str) -> frozenset[str]:
    """Return the features that an address says it has; none if it does not answer."""
    try:
        answer = await stream.request(jid, "get", f'<query xmlns="{INFO}"/>', 5.0)
    except (StanzaError, TimeoutError):
        return frozenset()
    return frozenset(feature.get("var", "") for feature in answer.iter(f"{{{INFO}}}feature"))


async def items_of(stream: Stream, jid: str) -> list[str]:
    """Return the addresses that an address lists; none if it does not answer."""
    try:
        answer = await stream.request(jid, "get", f'<query xmlns="{ITEMS}"/>', 5.0)
    except (StanzaError, TimeoutError):
        return []
    return [found for item in answer.iter(f"{{{ITEMS}}}item") if (found := item.get("jid")) and not item.get("node")]


async def find_service(stream: Stream, domain: str) -> str:
    """Return the address of the service of a domain. Raises ConnectionLostError, saying how to start one."""
    usual = f"unimsg.{domain}"
    if NAMESPACE in await features_of(stream, usual):
        return usual
    listed = [jid for jid in await items_of(stream, domain) if jid != usual][:MANY]
    for jid, features in zip(listed, await asyncio.gather(*(features_of(stream, jid) for jid in listed)), strict=True):
        if NAMESPACE in features:
            return jid
    raise ConnectionLostError(
        f"{escape(domain)} has no unimsg service: start one with `unimsg serve` (its help shows how), name it with ?service=, "
        "or say ?service=none for topics on the server's own pubsub"
    )
