"""Text as it may stand in a stream: XML 1.0 (fifth edition), 2.2 Characters; RFC 6120, 11.1."""

from __future__ import annotations

import re

from unimsg.errors import MessageFormatError

__all__ = ["escape"]

_TOUCHY = re.compile("[^ !#-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What cannot stand as it is, in text or between double quotes."""

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {ord(char): f"&{name};" for char, name in {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "\t": "#9", "\n": "#10", "\r": "#13"}.items()}


def escape(text: str) -> str:
    """Escape for text and for attributes in double quotes. Raises MessageFormatError for what XML cannot hold: it would close the stream."""
    if _TOUCHY.search(text) is None:
        return text
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        raise MessageFormatError(f"the character U+{ord(bad[0]):04X} at position {bad.start()} cannot travel in XML, not even escaped")
    return text.translate(_ESCAPES)
