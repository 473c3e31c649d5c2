"""From a selector's text to its words: identifiers, keywords, strings, operators, and numbers as Java writes them.

Numbers are those of the Java language: decimal, octal `035`, hexadecimal `0x1d` and binary `0b11` integers with an
optional `L`, and floating-point `7.`, `.7e4`, `7E3`, `1.5f`, `2d`, `0x1p3` (JMS 3.1 §3.8.1.1; Java Language
Specification §3.10.1, §3.10.2). Every regular expression here is linear: no two of its branches take the same text.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from decimal import Decimal, DecimalException
from typing import NamedTuple

from unimsg.errors import InvalidSelectorError
from unimsg.headers import WORDS
from unimsg.selector.tree import Approximate

__all__ = ["MAX_LENGTH", "Token", "fail", "tokens_of"]

MAX_LENGTH = 65_536
"""Characters that a selector may have: room for an IN of some thousands, and no more for the hostile."""

_LONG = 2**63
_SPACE = re.compile(r"[ \t\f\r\n]*")
_ASCII_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_STRING = re.compile(r"'((?:[^']|'')*+)'")
_OPERATOR = re.compile(r"<>|<=|>=|[=<>+\-*/(),]")
_NUMERIC = re.compile(r"0[xX](?:[pP][+-]|[0-9A-Za-z_.$])*|\.?[0-9](?:[eE][+-]|[0-9A-Za-z_.$])*")

_D, _H = r"[0-9](?:_*[0-9])*", r"[0-9a-fA-F](?:_*[0-9a-fA-F])*"
_INTEGER = re.compile(rf"(?:0[xX](?P<hex>{_H})|0[bB](?P<binary>[01](?:_*[01])*)|0_*(?P<octal>[0-7](?:_*[0-7])*)|(?P<decimal>0|[1-9](?:_*[0-9])*))[lL]?")
_FLOAT = re.compile(rf"(?P<number>(?:{_D}\.(?:{_D})?|\.{_D}|{_D}(?=[eEfFdD]))(?:[eE][+-]?{_D})?)(?P<suffix>[fFdD]?)")
_HEX_FLOAT = re.compile(rf"(?P<number>0[xX](?:{_H}(?:\.(?:{_H})?)?|\.{_H})[pP][+-]?{_D})(?P<suffix>[fFdD]?)")
_BASES = {"hex": 16, "binary": 2, "octal": 8}


class Token(NamedTuple):
    """A word and where it stands: kind `name`, `string`, `number`, `end`, or the operator or keyword itself."""

    kind: str
    value: bool | int | Approximate | str
    position: int
    end: int


def fail(text: str, position: int, cause: str) -> InvalidSelectorError:
    """Return the error for a fault at a character of the text, with what stands around it."""
    start, end = max(0, position - 24), position + 24
    before = ("…" if start else "") + text[start:position]
    after = text[position:end] + ("…" if end < len(text) else "")
    return InvalidSelectorError(f"invalid selector: {cause} (at character {position}: {before!r} | {after!r})", position)


def tokens_of(text: str) -> list[Token]:
    """Return the words of a selector and a last one of kind `end`. Raises InvalidSelectorError."""
    if len(text) > MAX_LENGTH:
        raise fail(text, MAX_LENGTH, f"it has {len(text)} characters; at most {MAX_LENGTH} are read")
    tokens: list[Token] = []
    position = 0
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches the empty text too
        if position == len(text):
            tokens.append(Token("end", "", position, position))
            return tokens
        token = _token(text, position)
        tokens.append(token)
        position = token.end


def _token(text: str, position: int) -> Token:
    character = text[position]
    if "0" <= character <= "9" or (character == "." and text[position + 1 : position + 2].isdecimal()):
        return _number(text, position)
    if character == "'":
        return _string(text, position)
    found = _OPERATOR.match(text, position)
    if found is not None:
        if text.startswith(("--", "/*"), position):
            raise fail(text, position, "SQL comments are not supported; write `- -1` with a space for a double minus")
        return Token(found[0], found[0], position, found.end())
    end = _name_end(text, position)
    if end == position:
        raise fail(text, position, _HINTS.get(character, f"{character!r} has no meaning here"))
    word = text[position:end]
    upper = word.upper() if len(word) <= 7 and word.isascii() else ""
    if upper in ("TRUE", "FALSE"):
        return Token("boolean", upper == "TRUE", position, end)
    return Token(upper, word, position, end) if upper in WORDS else Token("name", word, position, end)


_HINTS = {
    '"': "a string stands in single quotes: 'text'",
    "!": "not equal is written <>",
    ";": "a selector is one condition; it does not end with ;",
    "&": "and is written AND",
    "|": "or is written OR",
    "%": "there is no remainder; % stands in the pattern of LIKE only",
    "`": "identifiers are not quoted",
    "[": "identifiers are not quoted",
    "?": "there are no parameters; write the value",
    ":": "there are no parameters; write the value",
}


def _string(text: str, position: int) -> Token:
    found = _STRING.match(text, position)
    if found is None:
        raise fail(text, position, "this string is not closed; a quote inside is written twice: 'it''s'")
    return Token("string", found[1].replace("''", "'"), position, found.end())


def _name_end(text: str, position: int) -> int:
    """Return where the identifier that starts at `position` ends; `position` itself if none does."""
    found = _ASCII_NAME.match(text, position)
    end = position if found is None else found.end()
    while end < len(text) and (text[end] > "\x7f" or end > position) and _is_part(text[end], end == position):
        end += 1
    return end


def _is_part(character: str, first: bool) -> bool:
    """Tell whether Java takes the character in an identifier, or Python does (its names can be sent as properties)."""
    if (character if first else "_" + character).isidentifier() or character == "$":
        return True
    import unicodedata  # most selectors are ASCII and never come here

    category = unicodedata.category(character)
    if category in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Sc", "Pc"):
        return True
    # What Java calls ignorable may stand inside; its control characters exclude all that is white space.
    ignorable = category == "Cf" or (category == "Cc" and character not in "\t\n\x0b\f\r\x1c\x1d\x1e\x1f")
    return not first and (category in ("Nd", "Mc", "Mn") or ignorable)


def _number(text: str, position: int) -> Token:
    written = _NUMERIC.match(text, position)
    if written is None:  # pragma: no cover - the caller has seen a digit
        raise fail(text, position, "a number was expected")
    readers: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], int | Approximate]], ...]
    readers = ((_INTEGER, _integer), (_FLOAT, _float), (_HEX_FLOAT, _hex_float))
    for pattern, read in readers:
        found = pattern.fullmatch(text, position, written.end())
        if found is None:
            continue
        try:
            return Token("number", read(found), position, written.end())
        except ValueError as error:
            raise fail(text, position, str(error)) from None
    shown = written[0] if len(written[0]) <= 40 else written[0][:40] + "…"
    octal = "; a leading 0 makes it octal, with digits 0 to 7" if re.fullmatch(r"0[0-9_]+[lL]?", written[0]) else ""
    raise fail(text, position, f"{shown} is no number (put a space between a number and a word){octal}")


def _integer(found: re.Match[str]) -> int:
    base = found.lastgroup or "decimal"
    digits = found[base].replace("_", "").lstrip("0") or "0"
    if base == "decimal":
        # 2**63 itself is let through: the parser takes it behind a minus only.
        if len(digits) > 19 or int(digits) > _LONG:
            raise ValueError("an integer has 64 bits: -9223372036854775808 to 9223372036854775807")
        return int(digits)
    number = int(digits, _BASES[base])
    if number >= 2 * _LONG:
        raise ValueError("an integer has 64 bits")
    # As in Java, these write the bits of a long: 0xffffffffffffffff is -1.
    return number if number < _LONG else number - 2 * _LONG


def _float(found: re.Match[str]) -> Approximate:
    written = found["number"].replace("_", "")
    try:
        exact = Decimal(written)
    except DecimalException:  # an exponent beyond any double; the double itself decides below
        exact = Decimal(0)
    mantissa = re.split("[eE]", written, maxsplit=1)[0]
    return _approximate(float(written), exact, found["suffix"], mantissa.strip("0.") != "")


def _hex_float(found: re.Match[str]) -> Approximate:
    written = found["number"].replace("_", "")
    try:
        value = float.fromhex(written)
    except OverflowError:
        value = float("inf")
    mantissa = re.split("[pP]", written[2:], maxsplit=1)[0]
    return _approximate(value, Decimal(value), found["suffix"], mantissa.strip("0.") != "")


def _approximate(value: float, exact: Decimal, suffix: str, nonzero: bool) -> Approximate:
    """Build the literal; Java refuses one that overflows, or that is not zero and becomes it (JLS §3.10.2)."""
    if suffix and suffix in "fF":
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = float("inf")
    if value == float("inf") or (nonzero and value == 0.0):
        raise ValueError(f"this number is too {'small' if value == 0.0 else 'large'} for a {'float' if suffix in ('f', 'F') else 'double'}")
    return Approximate(value, exact)
