"""XEP-0060 as text and back: nodes, items and events, in the subset that Prosody and ejabberd share."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from unimsg import wire
from unimsg.errors import MessageFormatError, SecurityError, UnimsgError
from unimsg_xmpp.errors import StanzaError
from unimsg_xmpp.stream import escape

__all__ = ["PUBSUB", "create", "delete", "events", "forbidden", "publish", "stanza_of", "subscribe", "unsubscribe"]

PUBSUB = "http://jabber.org/protocol/pubsub"
FOREIGN = "JMS_unimsg_foreign"
_ENVELOPE = f"{{{wire.NAMESPACE}}}envelope"
_EVENT = f"{{{PUBSUB}#event}}"
_OPEN, _CLOSE = '<message xmlns="jabber:client" type="normal">', "</message>"


def create(node: str, access: str) -> str:
    """Write the creation of a node that keeps nothing and may be published to by everybody whom its access model lets in."""
    fields = {
        "access_model": access,
        "publish_model": "open",
        "persist_items": "0",
        "notification_type": "headline",  # what nobody is there to receive is not kept for later
        "send_last_published_item": "never",
        "deliver_payloads": "1",
    }
    form = "".join(f'<field var="pubsub#{name}"><value>{value}</value></field>' for name, value in fields.items())
    kind = f'<field var="FORM_TYPE" type="hidden"><value>{PUBSUB}#node_config</value></field>'
    return f'<pubsub xmlns="{PUBSUB}"><create node="{escape(node)}"/><configure><x xmlns="jabber:x:data" type="submit">{kind}{form}</x></configure></pubsub>'


def delete(node: str) -> str:
    """Write the deletion of a node."""
    return f'<pubsub xmlns="{PUBSUB}#owner"><delete node="{escape(node)}"/></pubsub>'


def publish(node: str, data: bytes) -> str:
    """Write one item: both servers take exactly one a request. Raises MessageFormatError for what is no stanza of ours."""
    text = str(data, "utf-8")
    if not (text.startswith(_OPEN) and text.endswith(_CLOSE)):
        text = str(wire.encode(wire.decode(data)), "utf-8")
    envelope = text[len(_OPEN) : -len(_CLOSE)]
    return f'<pubsub xmlns="{PUBSUB}"><publish node="{escape(node)}"><item>{envelope}</item></publish></pubsub>'


def subscribe(node: str, jid: str) -> str:
    """Write a subscription."""
    return f'<pubsub xmlns="{PUBSUB}"><subscribe node="{escape(node)}" jid="{escape(jid)}"/></pubsub>'


def unsubscribe(node: str, jid: str, subid: str | None) -> str:
    """Write its end."""
    named = f' subid="{escape(subid)}"' if subid else ""
    return f'<pubsub xmlns="{PUBSUB}"><unsubscribe node="{escape(node)}" jid="{escape(jid)}"{named}/></pubsub>'


def events(message: Element) -> tuple[str, list[Element]] | None:
    """Return the node and the payloads of an event's items, None for any other message."""
    items = message.find(f"{_EVENT}event/{_EVENT}items")
    if items is None:
        return None
    return items.get("node", ""), [payload for item in items if item.tag == f"{_EVENT}item" for payload in item]


def stanza_of(payload: Element, node: str) -> bytes:
    """Return the stanza of an item: ours, or, of any other XML, a text message with its namespace in a property. Raises MessageFormatError."""
    if payload.tag == _ENVELOPE:
        return wire.encode(wire.decode_element(payload))
    payload.tail = None
    head = {"destination": f"topic:{node}", "id": f"ID:{uuid.uuid4().hex}", "timestamp": datetime.now(UTC)}
    namespace = payload.tag.rpartition("}")[0][1:]
    return wire.encode_parts(head, {FOREIGN: namespace}, "text", ET.tostring(payload, encoding="unicode"))


def forbidden(error: StanzaError, what: str, domain: str, service: str, user: str) -> UnimsgError:
    """Return our error for a refused request of pubsub."""
    if error.condition in ("forbidden", "not-allowed", "not-authorized"):
        return SecurityError(
            f"{service} does not let {user} {what} ({error.text or error.condition}). Prosody lets only administrators make nodes: "
            f'under Component "{service}" "pubsub" write admins = {{ "{user}" }}; ejabberd: access_createnode of mod_pubsub. '
            f"Or use the queue service: unimsg serve xmpp://unimsg.{domain}"
        )
    if error.condition in ("not-acceptable", "policy-violation", "bad-request"):
        return MessageFormatError(f"{service}: {what}: {error.text or error.condition}")
    return UnimsgError(f"{service}: {what}: {error.text or error.condition}")
