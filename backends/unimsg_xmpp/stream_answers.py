"""What a stream answers by itself: who we are (XEP-0030, XEP-0092), and that we are there (XEP-0199)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from xml.etree.ElementTree import Element

from unimsg_xmpp.stream_text import escape

__all__ = ["answer_of"]

INFO = "http://jabber.org/protocol/disco#info"
PING = "urn:xmpp:ping"
VERSION = "jabber:iq:version"


def answer_of(iq: Element, features: Sequence[str], identity: tuple[str, str, str]) -> str | tuple[str, str] | None:
    """Return the payload of the result, the kind and condition of a refusal, or None for a request that is not for us."""
    if iq.get("type") != "get":
        return None
    query = iq[0]
    if query.tag == f"{{{PING}}}ping":
        return ""
    if query.tag == f"{{{INFO}}}query":
        return ("cancel", "item-not-found") if query.get("node") else _info(tuple(features), identity)
    if query.tag == f"{{{VERSION}}}query":
        return f'<query xmlns="{VERSION}"><name>unimsg</name><version>{escape(_version())}</version></query>'
    return None


@cache
def _info(features: tuple[str, ...], identity: tuple[str, str, str]) -> str:
    category, kind, name = (escape(part) for part in identity)
    told = "".join(f'<feature var="{escape(feature)}"/>' for feature in dict.fromkeys((INFO, PING, VERSION, *features)))
    return f'<query xmlns="{INFO}"><identity category="{category}" type="{kind}" name="{name}"/>{told}</query>'


@cache
def _version() -> str:
    try:
        return version("unimsg")
    except PackageNotFoundError:
        return "unknown"
