"""Change a few headers and properties of a stanza, and nothing else: not a type, not a text, not an unknown attribute.

For hops that must add their facts to a message that is not theirs to write anew: a dead letter, a migration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from unimsg.errors import WireFormatError
from unimsg.wire.codec import decode, encode, encode_parts
from unimsg.wire.judge import ENVELOPE, PROPERTY, envelope_of, stanza_of
from unimsg.wire.tree import Node

__all__ = ["amend"]


def amend(data: bytes, drop: Collection[str], properties: Mapping[str, Any]) -> bytes:
    """Return the canonical stanza without the headers in `drop` and with these properties, which replace their namesakes.

    Raises WireFormatError where `data` is no stanza of this version, MessageFormatError for a property that cannot be carried.
    """
    envelope = envelope_of(encode(decode(data)))
    if envelope.tag != ENVELOPE:
        raise WireFormatError("it is a message of a later version, which nobody but its writer may change")
    added = [kid for kid in envelope_of(encode_parts({}, properties, None, None)).nodes if kid.tag == PROPERTY]
    new = Node(envelope.tag, {name: value for name, value in envelope.attrs.items() if name not in drop})
    kept = [kid for kid in envelope.nodes if not (kid.tag == PROPERTY and kid.attrs.get("name") in properties)]
    last = sum(kid.tag == PROPERTY for kid in kept)  # properties stand first, then at most one body, then foreign elements
    new.kids = [*kept[:last], *added, *kept[last:]]
    return stanza_of(new)
