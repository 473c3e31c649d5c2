"""From a stanza to the route that the broker wants: read from the envelope, and judged on the way in."""

from __future__ import annotations

from typing import Any

from unimsg import wire
from unimsg.broker.sqlite_rows import StanzaProperties
from unimsg.destination import Destination, parse_destination
from unimsg.driver import Frame, Route
from unimsg.errors import InvalidDestinationError, WireFormatError

__all__ = ["frame_of"]


def frame_of(data: bytes, to: Destination[Any] | None) -> Frame:
    """Return the frame of a stanza, for `to` or for where its envelope says. Raises WireFormatError, InvalidDestinationError."""
    head = wire.decode(data).head
    get = head.get
    message_id = get("id")
    if message_id is None:
        raise WireFormatError("the envelope has no id")
    if to is None:
        said = get("destination")
        if said is None:
            raise InvalidDestinationError("the envelope has no destination, and the submission none beside it (to=)")
        to = parse_destination(said)
    timestamp, expires, due = get("timestamp"), get("expiration"), get("delivery-time")
    route = Route(
        to,
        message_id,
        get("correlation-id"),
        get("reply-to"),
        get("type"),
        None if timestamp is None else timestamp.timestamp(),
        "delivery-mode" not in head,
        None,
        get("group-id"),
        get("group-seq"),
        get("priority", 4),
        None if expires is None else expires.timestamp(),
        None if due is None else due.timestamp(),
        True,
        StanzaProperties(data),
    )
    return Frame(data, route)
