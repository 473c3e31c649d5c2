"""The protocol `urn:unimsg:queue:1` as text: what the client writes and the service reads, and the other way round.

No I/O here, and no state; docs/xmpp-service.md is the specification. Payloads are the children of `<iq/>`. Everything
that is written is escaped, everything that is read is judged: what comes from the other side may be hostile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from unimsg import wire
from unimsg.destination import Destination, parse_destination
from unimsg.driver import Overflow, Source
from unimsg.errors import InvalidDestinationError, MessageTooLargeError, UnimsgError, WireFormatError
from unimsg_xmpp.stream import escape

__all__ = [
    "CREDIT",
    "LEASE",
    "MANY",
    "NAMESPACE",
    "PACKED_BYTES",
    "PACKED_COUNT",
    "STANZA",
    "BadRequestError",
    "attributes",
    "chunks",
    "element",
    "named",
    "number",
    "numbers",
    "pack",
    "ranges",
    "seconds",
    "source_attributes",
    "source_of",
    "unpack",
    "unpack_each",
]

NAMESPACE = "urn:unimsg:queue:1"
LEASE = 30.0
"""Seconds without a sign of life after which the service ends a session."""
CREDIT = 10_000
"""Deliveries that a consumer may have granted and not received, at most."""
STANZA = 262_144
"""Bytes that a stanza may have on stock servers (both as Debian ships them)."""
PACKED_COUNT = 50
"""Stanzas of one batch: beyond that, a stanza is over the 8 KiB that Prosody likes, and nothing is gained."""
PACKED_BYTES = 98_304
"""Bytes of one batch before it is deflated: what cannot be deflated still fits a stanza."""
MANY = 100_000
"""Numbers that one list may name."""

_RANGE = re.compile(r"([1-9][0-9]{0,14})(?:-([1-9][0-9]{0,14}))?")
_NUMBER = re.compile(r"[0-9]{1,15}")
_MESSAGE_OPEN = b'<message xmlns="jabber:client" type="normal">'
_MESSAGE_CLOSE = b"</message>"
_ENVELOPE = f"{{{wire.NAMESPACE}}}envelope"
_BATCH = f"{{{wire.NAMESPACE}}}batch"


class BadRequestError(UnimsgError):
    """Say that what came is no request of the protocol (bad-request)."""


# Elements.


def attributes(values: Mapping[str, object]) -> str:
    """Write attributes, in their order, without those that are None."""
    return "".join(f' {name}="{escape(_text(value))}"' for name, value in values.items() if value is not None)


def _text(value: object) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)


def element(name: str, values: Mapping[str, object] | None = None, content: str = "", *, nested: bool = False) -> str:
    """Write an element of the protocol; a nested one inherits the namespace."""
    head = name if nested else f'{name} xmlns="{NAMESPACE}"'
    if values:
        head += attributes(values)
    return f"<{head}>{content}</{name}>" if content else f"<{head}/>"


def named(found: Element) -> str:
    """Return an element's name if it is of the protocol, else ``."""
    namespace, _, local = found.tag.rpartition("}")
    return local if namespace == f"{{{NAMESPACE}" else ""


def number(found: Element, name: str, default: int | None = None, *, least: int = 0, most: int = 10**15) -> int:
    """Read a whole number from an attribute. Raises BadRequestError."""
    text = found.get(name)
    if text is None and default is not None:
        return default
    if text is None or not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise BadRequestError(f"<{named(found)}> has {name}=, a whole number from {least} to {most}, not {text!r:.40}")
    return int(text)


def seconds(found: Element, name: str, default: float | None = None, *, most: float = 31_536_000.0) -> float:
    """Read a time in seconds, 0 to a year, from an attribute. Raises BadRequestError."""
    text = found.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) > most:
        raise BadRequestError(f"<{named(found)}> has {name}=, seconds such as 2.5, at most {most:g}, not {text!r:.40}")
    return float(text)


def flag(found: Element, name: str) -> bool:
    """Read `true` or `false` (or nothing, which is false). Raises BadRequestError."""
    text = found.get(name, "false")
    if text not in ("true", "false"):
        raise BadRequestError(f"<{named(found)}> has {name}='true' or 'false', not {text!r:.40}")
    return text == "true"


def destination_of(found: Element, name: str = "destination") -> Destination[Any]:
    """Read a destination. Raises InvalidDestinationError, also where there is none."""
    text = found.get(name)
    if text is None:
        raise InvalidDestinationError(f"<{named(found)}> has {name}=, for instance queue:orders")
    return parse_destination(text)


# Lists of deliveries: `1-50 53`.


def ranges(values: Iterable[int]) -> str:
    """Write numbers as ranges; sorted, each once."""
    out: list[str] = []
    first = last = 0
    for value in sorted(set(values)):
        if value == last + 1 and first:
            last = value
            continue
        if first:
            out.append(str(first) if first == last else f"{first}-{last}")
        first = last = value
    if first:
        out.append(str(first) if first == last else f"{first}-{last}")
    return " ".join(out)


def numbers(text: str, most: int = MANY) -> list[int]:
    """Read what `ranges` writes; at most `most` numbers. Raises BadRequestError."""
    found: list[int] = []
    for part in text.split():
        match = _RANGE.fullmatch(part)
        if match is None:
            raise BadRequestError(f"{part!r:.40} is no number and no range such as 1-50")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first or last - first + len(found) >= most:
            raise BadRequestError(f"{part!r:.40}: a request names at most {MANY} deliveries, in ranges that go up")
        found.extend(range(first, last + 1))
    return found


# Stanzas in elements.


def pack(frames: Sequence[bytes], *, zlib: bool) -> str:
    """Write stanzas as what stands in `<submit>` and `<deliver>`: one batch, or, where packing is not spoken, each envelope.

    Bytes that are no stanza of ours travel in batches only. Raises MessageFormatError.
    """
    if zlib and (len(frames) > 1 or len(frames[0]) > 600 or not frames[0].startswith(_MESSAGE_OPEN)):
        packed = wire.encode_batch(frames).decode()
        if len(frames) > 1 or len(packed) < len(frames[0]) or not frames[0].startswith(_MESSAGE_OPEN):
            return packed  # what cannot be deflated grows by a third in base64: alone, it travels as it is
    out: list[str] = []
    for frame in frames:
        if not (frame.startswith(_MESSAGE_OPEN) and frame.endswith(_MESSAGE_CLOSE)):
            frame = wire.encode(wire.decode(frame))
        out.append(str(frame[len(_MESSAGE_OPEN) : -len(_MESSAGE_CLOSE)], "utf-8"))
    return "".join(out)


def unpack(found: Element) -> list[bytes]:
    """Return the stanzas in an element: of batches as they were written, of envelopes in canonical form. Raises WireFormatError."""
    frames: list[bytes] = []
    for frame in unpack_each(found):
        if not isinstance(frame, bytes):
            raise frame
        frames.append(frame)
    return frames


def unpack_each(found: Element, most: int = wire.MAX_BATCH_COUNT) -> list[bytes | WireFormatError]:
    """Return the same, with an error in the place of each envelope that cannot be read.

    Raises WireFormatError for a batch that is none, for more than `most` stanzas, and for none.
    """
    frames: list[bytes | WireFormatError] = []
    for kid in found:
        if kid.tag == _BATCH:
            frames += wire.decode_batch_element(kid)
        elif kid.tag == _ENVELOPE:
            try:
                frames.append(wire.encode(wire.decode_element(kid)))
            except WireFormatError as error:
                frames.append(error)
        if len(frames) > most:
            raise WireFormatError(f"<{named(found)}> holds more than {most} stanzas: send fewer at once")
    if not frames:
        raise WireFormatError(f"<{named(found)}> holds neither an <envelope> nor a <batch> of {wire.NAMESPACE}")
    return frames


def chunks(sizes: Sequence[int]) -> Iterator[slice]:
    """Cut a row of stanzas, given by their sizes in bytes, into what travels as one batch each."""
    start = total = 0
    for place, size in enumerate(sizes):
        if place > start and (place - start >= PACKED_COUNT or total + size > PACKED_BYTES):
            yield slice(start, place)
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))


# What to consume.


def source_attributes(source: Source) -> dict[str, object]:
    """Return the attributes of `<consume>` for a source; defaults are not written."""
    return {
        "destination": source.destination,
        "selector": source.selector,
        "subscription": source.subscription,
        "durable": source.durable or None,
        "shared": source.shared or None,
        "no-local": source.no_local or None,
        "overflow": source.overflow.policy if source.overflow.policy != "block" else None,
        "backlog": source.overflow.limit if source.overflow.limit != Overflow().limit else None,
    }


def source_of(found: Element) -> Source:
    """Read `<consume>`. Raises BadRequestError, InvalidDestinationError."""
    destination = destination_of(found)
    subscription, policy = found.get("subscription"), found.get("overflow", "block")
    durable, shared, no_local = flag(found, "durable"), flag(found, "shared"), flag(found, "no-local")
    if policy not in ("block", "drop", "fail"):
        raise BadRequestError(f"<consume> has overflow='block', 'drop' or 'fail', not {policy!r:.40}")
    if not destination.is_topic and (subscription is not None or durable or shared or no_local):
        raise BadRequestError(f"{destination}: subscription, durable, shared and no-local are for topics")
    if (durable or shared) != (subscription is not None) or (subscription is not None and not 0 < len(subscription) <= 128):
        raise BadRequestError("<consume>: a durable or shared subscription has a name of 1 to 128 characters, and no other has one")
    return Source(destination, found.get("selector"), subscription, durable, shared, no_local, Overflow(policy, number(found, "backlog", 100_000, least=1)))


def fits(size: int, limit: int) -> None:
    """Raise MessageTooLargeError for a stanza that no server would let through."""
    if size > limit:
        raise MessageTooLargeError(
            f"the message has {size} bytes as a stanza; this connection carries at most {limit} (options stanza, max_message_bytes)", size, limit
        )
