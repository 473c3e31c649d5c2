"""Dead letters: what becomes of a message that nobody can process.

The letter is the message as it was, to the last unknown attribute, and three properties more: why
(`JMS_unimsg_reason`), where it was (`JMS_unimsg_origin`) and how often it had been delivered (`JMS_unimsg_deliveries`).
It does not expire. Bytes that are no stanza become the body of a letter of their own, so that nothing is ever dropped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from unimsg import wire
from unimsg.destination import Destination, Queue
from unimsg.driver import Delivery, Frame, Route, Source
from unimsg.errors import MessageFormatError
from unimsg.message import readable
from unimsg.values import Int

__all__ = ["DELIVERIES", "ORIGIN", "REASON", "dead_queue", "letter"]

REASON, ORIGIN, DELIVERIES = "JMS_unimsg_reason", "JMS_unimsg_origin", "JMS_unimsg_deliveries"


def dead_queue(source: Source, delivery: Delivery) -> Queue[Any]:
    """Return the queue of dead letters for what this source delivers, where the policy names none."""
    if source.destination.is_topic:
        return Queue(f"dead.{source.subscription or delivery.frame.route.destination.name}")
    return Queue(f"dead.{source.destination.name}")


def letter(delivery: Delivery, origin: Destination[Any], to: Queue[Any], reason: str, fresh_id: str) -> Frame:
    """Return the frame of a dead letter."""
    from unimsg.wire.amend import amend  # rare, and not cheap to load

    facts = {REASON: reason, ORIGIN: str(origin), DELIVERIES: Int(min(delivery.count, Int.high))}
    try:
        data = amend(delivery.frame.data, ("delivery-time", "expiration"), facts)
        message = wire.decode(data)
        head, properties = message.head, readable(message.properties)
    except MessageFormatError:
        head, properties = {"destination": str(origin), "id": fresh_id, "timestamp": datetime.now(UTC)}, facts
        data = wire.encode_parts(head, facts, "bytes", delivery.frame.data)
    sent = head.get("timestamp")
    route = Route(
        destination=to,
        message_id=head.get("id"),
        correlation_id=head.get("correlation-id"),
        reply_to=head.get("reply-to"),
        type=head.get("type"),
        timestamp=sent.timestamp() if sent is not None else None,
        group=head.get("group-id"),
        priority=head.get("priority", 4),
        properties=properties,
        group_seq=head.get("group-seq"),
    )
    return Frame(data, route)
