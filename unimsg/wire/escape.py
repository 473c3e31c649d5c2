r"""What stands between a Python text and the text of an XML document, both ways.

Text: `&`, `<` and `>` as entities; what XML cannot carry, and CR, which no XMPP server keeps, makes the whole text travel
as base64 of its UTF-8 (lone surrogates as WTF-8). Attributes: `&`, `<` and `"` as entities, and before that `\\` for a
backslash and `\uXXXX` for U+0000..001F, lone surrogates, U+FFFE and U+FFFF.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import a2b_base64
from functools import cache

__all__ = [
    "attribute",
    "base64_text",
    "pattern",
    "plain_text",
    "read_attribute",
    "read_base64",
    "read_base64_text",
    "text_base64",
    "unescape",
    "unfit",
    "xml_attribute",
    "xml_text",
]

_UNFIT_TEXT = "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_UNFIT_ATTRIBUTE = "[\x00-\x1f\\\\\ud800-\udfff\ufffe\uffff]"
_ESCAPE = r"\\(\\|u[0-9a-f]{4})?"
_PAIR = "[\ud800-\udbff][\udc00-\udfff]"
_MAY_BE_ESCAPED = frozenset([*range(0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF])
_NO_SPACE = str.maketrans("", "", " \t\n\r")


def plain_text(text: str) -> str | None:
    """Return a text as XML character data, or None where only base64 can carry it."""
    if unfit(text):
        return None
    if "&" in text or "<" in text or ">" in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text


@cache
def pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of this package, compiled on first use: those with many characters take milliseconds."""
    return re.compile(text)


def unfit(text: str) -> bool:
    """Tell whether a text holds a character that character data of canonical bytes does not."""
    return not text.isprintable() and pattern(_UNFIT_TEXT).search(text) is not None


def unescape(text: str) -> str:
    """Return canonical character data, whose entities were found to be right, as a text."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def xml_text(text: str) -> str:
    """Return parsed character data as Canonical XML writes it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#xD;") if "\r" in text else text


def xml_attribute(value: str) -> str:
    """Return a parsed attribute value as Canonical XML writes it, without the quotes."""
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    if value.isprintable():
        return value
    return value.replace("\t", "&#x9;").replace("\n", "&#xA;").replace("\r", "&#xD;")


def attribute(text: str) -> str:
    """Return a text as the value of an attribute, escaped, without the quotes."""
    if not text.isprintable() or "\\" in text:
        text = pattern(_UNFIT_ATTRIBUTE).sub(_escaped, _paired(text))
    if "&" in text or "<" in text or '"' in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return "\\\\" if character == "\\" else f"\\u{ord(character):04x}"


def _paired(text: str) -> str:
    """Join a high surrogate and the low one after it: in UTF-16, which is where they come from, they are one character."""
    return pattern(_PAIR).sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


def read_attribute(value: str) -> str:
    """Undo the backslash escapes of a parsed attribute value. Raises ValueError."""
    if "\\" not in value:
        return value
    text = pattern(_ESCAPE).sub(_unescaped, value)
    if pattern(_PAIR).search(text):
        raise ValueError("it escapes a surrogate pair: an astral character stands for itself")
    return text


def _unescaped(match: re.Match[str]) -> str:
    found = match[1]
    if found == "\\":
        return found
    code = int(found[1:], 16) if found else -1
    if code not in _MAY_BE_ESCAPED:
        shown = match.string[match.start() : match.start() + 6]
        raise ValueError(f"{shown!r} is no escape: there are \\\\ and \\uXXXX (lower case) for what XML cannot carry, and no others")
    return chr(code)


def base64_text(data: bytes) -> str:
    """Return bytes as base64 (RFC 4648 section 4, padded)."""
    return b64encode(data).decode("ascii")


def text_base64(text: str) -> str:
    """Return a text as base64 of its UTF-8, lone surrogates as WTF-8."""
    return base64_text(_paired(text).encode("utf-8", "surrogatepass"))


def read_base64(text: str) -> bytes:
    """Return the bytes of a base64 text; white space is skipped. Raises ValueError.

    The standard library alone takes too much (`YR==`, whose pad bits are not zero): what it read must be what it would write.
    """
    if not text.isalnum():
        text = text.translate(_NO_SPACE)
    try:
        data = a2b_base64(text.encode("ascii"))
    except ValueError:
        data = b""
    if b64encode(data).decode("ascii") != text:
        raise ValueError("it is no base64 (RFC 4648 section 4, padded, pad bits zero)")
    return data


def read_base64_text(text: str) -> str:
    """Return the text that travelled as base64. Raises ValueError."""
    found = read_base64(text)
    try:
        decoded = found.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ValueError(f"its base64 holds no UTF-8: {error.reason} at byte {error.start}") from None
    if pattern(_PAIR).search(decoded):
        raise ValueError("its base64 holds a surrogate pair: an astral character is one sequence of four bytes")
    return decoded
