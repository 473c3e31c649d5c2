"""The wire format, `urn:unimsg:1`: messages to canonical XML stanzas and back, without any I/O (docs/wire-format.md)."""

from __future__ import annotations

from unimsg.wire.batch import decode_batch, decode_batch_element, encode_batch
from unimsg.wire.codec import decode, decode_element, encode, encode_envelope, encode_parts
from unimsg.wire.limits import (
    CONTENT_TYPE,
    MAX_BATCH,
    MAX_BATCH_COUNT,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_NUMBER,
    MAX_STANZA,
    MAX_TEXT,
    MUST_ACCEPT,
    NAMESPACE,
)

__all__ = [
    "CONTENT_TYPE",
    "MAX_BATCH",
    "MAX_BATCH_COUNT",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "MAX_NUMBER",
    "MAX_STANZA",
    "MAX_TEXT",
    "MUST_ACCEPT",
    "NAMESPACE",
    "decode",
    "decode_batch",
    "decode_batch_element",
    "decode_element",
    "encode",
    "encode_batch",
    "encode_envelope",
    "encode_parts",
]
