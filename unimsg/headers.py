"""What a header or a property may be: one check each, used wherever a message is built.

The rules are those of Jakarta Messaging 3.1 §3.4 (headers) and §3.5.1, §3.8.1.1 (property names are selector
identifiers, and not a word of the selector language; `JMSX` and `JMS_` are reserved).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from unimsg.bodies import LEAVES
from unimsg.errors import MessageFormatError

__all__ = ["DeliveryMode", "check_name", "check_priority", "check_properties", "check_seconds", "check_text", "check_time"]

HEADERS = (
    "correlation-id",
    "delivery-mode",
    "delivery-time",
    "destination",
    "expiration",
    "group-id",
    "group-seq",
    "id",
    "must-understand",
    "origin",
    "priority",
    "reply-to",
    "timestamp",
    "type",
)
"""The attributes of `<envelope>` in canonical order; a head is a dict of some of them, in this order, to typed values."""

WORDS = frozenset({"NULL", "TRUE", "FALSE", "NOT", "AND", "OR", "BETWEEN", "LIKE", "IN", "IS", "ESCAPE"})
WRITABLE_JMSX = frozenset({"JMSXGroupID", "JMSXGroupSeq"})
MAX_TEXT = 65_536
MAX_SECONDS = 3_155_760_000.0
"""A hundred years: a longer time to live or delay is a mistake."""

_good: set[str] = set()
_LOW, _HIGH = -(2**63), 2**63 - 1


class DeliveryMode(enum.IntEnum):
    """Say whether a message survives the broker (JMS 3.1 §3.4.2)."""

    NON_PERSISTENT = 1
    PERSISTENT = 2


def check_name(name: object) -> str:
    """Return a property's name if JMS allows it. Raises MessageFormatError."""
    if type(name) is str and name in _good:
        return name
    if not isinstance(name, str) or not name:
        raise MessageFormatError(f"a property's name is a non-empty text, not {name!r:.60}")
    if not (name.replace("$", "_").isidentifier()):
        raise MessageFormatError(f"property {name[:60]!r}: JMS wants an identifier (letters, digits, _ and $, not starting with a digit)")
    if name.upper() in WORDS:
        raise MessageFormatError(f"property {name!r}: this is a word of the selector language")
    if name.startswith("JMS") and not name.startswith("JMS_"):
        hint = "give group= instead" if name in WRITABLE_JMSX else "names that start with JMS are reserved"
        raise MessageFormatError(f"property {name[:60]!r}: {hint}")
    if len(name) > 1024:
        raise MessageFormatError(f"property {name[:60]!r}…: a name has at most 1024 characters")
    if len(_good) > 10_000:
        _good.clear()
    _good.add(name)
    return name


def check_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the properties if all names and values can be sent. Raises MessageFormatError."""
    checked = dict(properties)
    for name, value in checked.items():
        if name not in _good:
            check_name(name)
        kind = type(value)
        if kind is int:
            if not _LOW <= value <= _HIGH:
                raise MessageFormatError(f"property {name!r} = {value}: an integer has 64 bits; use Decimal or a text")
        elif kind not in LEAVES:
            checked[name] = _plain_value(name, value)
        elif kind is datetime and value.tzinfo is None:
            raise MessageFormatError(f"property {name!r} = {value}: a time needs a time zone (datetime.now(UTC))")
    return checked


def _plain_value(name: str, value: Any) -> Any:
    """Take a subclass of a plain type (an enum, a numpy-like scalar) for what it is."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    for plain in (bool, int, float):
        if isinstance(value, plain):
            return check_properties({name: plain(value)})[name]
    raise MessageFormatError(
        f"property {name!r}: a {type(value).__name__} cannot be a property; "
        "it may be None, bool, int, float, str, bytes, Decimal, datetime or a unimsg.values type"
    )


def check_priority(priority: object) -> int:
    """Return a priority of 0 to 9. Raises MessageFormatError (JMS 3.1 §3.4.10)."""
    if type(priority) is not int or not 0 <= priority <= 9:
        raise MessageFormatError(f"priority is an int of 0 (lowest) to 9, not {priority!r:.40}")
    return priority


def check_mode(mode: object) -> DeliveryMode:
    """Return a delivery mode. Raises MessageFormatError."""
    if isinstance(mode, str):
        mode = {"persistent": 2, "non-persistent": 1, "non_persistent": 1}.get(mode.lower(), mode)
    try:
        return DeliveryMode(mode)  # type: ignore[arg-type]
    except ValueError:
        raise MessageFormatError(f"delivery_mode is DeliveryMode.PERSISTENT or NON_PERSISTENT, not {mode!r:.40}") from None


def check_seconds(what: str, seconds: object) -> float:
    """Return a time span in seconds, 0 or more. Raises MessageFormatError."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or not 0 <= seconds <= MAX_SECONDS:
        raise MessageFormatError(f"{what} is a number of seconds from 0 to {MAX_SECONDS:.0f}, not {seconds!r:.40}")
    return float(seconds)


def check_text(what: str, text: object) -> str:
    """Return a header's text, at most 65,536 characters. Raises MessageFormatError."""
    if not isinstance(text, str):
        raise MessageFormatError(f"{what} is a text, not {text!r:.40}")
    if len(text) > MAX_TEXT:
        raise MessageFormatError(f"{what} has {len(text)} characters; at most {MAX_TEXT} are carried")
    return str.__str__(text)


def check_time(what: str, time: object) -> datetime:
    """Return an aware datetime, in UTC. Raises MessageFormatError."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise MessageFormatError(f"{what} is a datetime with a time zone, not {time!r:.60}")
    return time if time.tzinfo is UTC else time.astimezone(UTC)
