"""The numbers that the wire format sets: its name, its media type and its limits (docs/wire-format.md, section 9)."""

from __future__ import annotations

from unimsg.destination import MAX_NAME as MAX_NAME
from unimsg.headers import MAX_TEXT as MAX_TEXT

NAMESPACE = "urn:unimsg:1"
"""The XML namespace of this version of the format."""
CONTENT_TYPE = "application/vnd.unimsg.stanza+xml"
"""The media type of a whole stanza."""
MAX_STANZA = 16 * 2**20
"""Bytes that a stanza may have."""
MUST_ACCEPT = 2**20
"""Bytes that every reader must accept."""
MAX_DEPTH = 16
"""Elements that may be open at once; `<message>` is the first."""
MAX_ELEMENTS = 10_000
"""Elements that a stanza may have, `<message>` included."""
MAX_NUMBER = 64
"""Characters that a number or a time may have, white space around it not counted."""
MAX_BATCH = 16 * 2**20
"""Bytes that a batch may have when it is inflated."""
MAX_BATCH_COUNT = 10_000
"""Envelopes that a batch may have."""

MESSAGE_OPEN = '<message xmlns="jabber:client" type="normal">'
MESSAGE_CLOSE = "</message>"
ENVELOPE_OPEN = '<envelope xmlns="urn:unimsg:1"'
ENVELOPE_CLOSE = "</envelope>"
PREFIX = MESSAGE_OPEN + ENVELOPE_OPEN
SUFFIX = ENVELOPE_CLOSE + MESSAGE_CLOSE
