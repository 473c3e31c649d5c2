"""Many stanzas in one element: `<batch count encoding="zlib">`, deflated, because XMPP servers cost by the element.

What is deflated is a row of netstrings (`12:hello world!,`): each the canonical `<envelope>` of a stanza, or a whole
stanza that has none of ours. Lengths say where one ends, so nothing that an envelope holds can pass for another one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

from unimsg.errors import MessageFormatError, MessageTooLargeError, WireFormatError
from unimsg.wire.escape import base64_text, read_base64
from unimsg.wire.limits import ENVELOPE_CLOSE, MAX_BATCH, MAX_BATCH_COUNT, MAX_STANZA, MESSAGE_CLOSE, MESSAGE_OPEN, NAMESPACE, PREFIX
from unimsg.wire.strict import parse, tree_of
from unimsg.wire.tree import Node

__all__ = ["decode_batch", "decode_batch_element", "encode_batch"]

_OPEN, _CLOSE, _PREFIX, _END = (text.encode() for text in (MESSAGE_OPEN, MESSAGE_CLOSE, PREFIX, ENVELOPE_CLOSE + MESSAGE_CLOSE))
_ENVELOPE = b"<envelope "
_COUNT = re.compile("[1-9][0-9]{0,5}")
_LENGTH = re.compile(b"([1-9][0-9]{0,7}):")
_BATCH = f"{NAMESPACE}}}batch"


def encode_batch(frames: Sequence[bytes]) -> bytes:
    """Return one `<batch>` of several stanzas (bytes as `encode` gives them), in their order.

    Raises MessageFormatError for none or too many of them, MessageTooLargeError over 16 MiB.
    """
    if not 1 <= len(frames) <= MAX_BATCH_COUNT:
        raise MessageFormatError(f"a batch has 1 to {MAX_BATCH_COUNT} stanzas, not {len(frames)}")
    parts: list[bytes] = []
    size = 0
    for frame in frames:
        inner = frame[len(_OPEN) : -len(_CLOSE)] if frame.startswith(_PREFIX) and frame.endswith(_END) else frame
        if not inner:
            raise MessageFormatError("a batch has no room for an empty frame")
        if len(inner) > MAX_STANZA:
            raise MessageTooLargeError(f"a frame has {len(inner)} bytes; a stanza has at most {MAX_STANZA}", len(inner), MAX_STANZA)
        parts += (b"%d:" % len(inner), inner, b",")
        size += len(inner) + len(parts[-3]) + 1
    if size > MAX_BATCH:
        raise MessageTooLargeError(f"the batch has {size} bytes before it is deflated; at most {MAX_BATCH} are carried: send fewer at once", size, MAX_BATCH)
    packed = base64_text(zlib.compress(b"".join(parts), 6))
    return f'<batch xmlns="{NAMESPACE}" count="{len(frames)}" encoding="zlib">{packed}</batch>'.encode()


def decode_batch(data: bytes | bytearray | memoryview) -> list[bytes]:
    """Return the stanzas of a `<batch>`. Raises WireFormatError; no more than 16 MiB are ever inflated."""
    return _frames(parse(bytes(data)))


def decode_batch_element(element: Any) -> list[bytes]:
    """Return the stanzas of a `<batch>` that was parsed already (an element as `decode_element` takes). Raises WireFormatError."""
    return _frames(tree_of(element))


def _frames(batch: Node) -> list[bytes]:
    if batch.tag != _BATCH:
        raise WireFormatError(f"the root is <{batch.tag.rpartition('}')[2][:60]}>, not <batch xmlns={NAMESPACE!r}>", batch.at)
    for kid in batch.nodes:
        raise WireFormatError("a batch holds base64, not elements", kid.at)
    encoding = batch.attrs.get("encoding")
    if encoding != "zlib":
        raise WireFormatError(f"a batch has encoding='zlib', not {encoding!r:.60}", batch.at)
    count = batch.attrs.get("count", "")
    if not _COUNT.fullmatch(count) or int(count) > MAX_BATCH_COUNT:
        raise WireFormatError(f"a batch says its count, 1 to {MAX_BATCH_COUNT}, not {count!r:.60}", batch.at)
    try:
        packed = read_base64(batch.text)
    except ValueError as error:
        raise WireFormatError(f"the batch: {error}", batch.at) from None
    frames = _netstrings(_inflate(packed))
    if len(frames) != int(count):
        raise WireFormatError(f"the batch says count='{count}' and holds {len(frames)}", batch.at)
    return frames


def _inflate(packed: bytes) -> bytes:
    """Inflate a zlib stream (RFC 1950) up to the limit, and no further."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, MAX_BATCH + 1)
    except zlib.error as error:
        raise WireFormatError(f"the batch is no zlib stream: {error}") from None
    if len(data) > MAX_BATCH:
        raise WireFormatError(f"the batch has more than {MAX_BATCH} bytes when it is inflated")
    if not stream.eof:
        raise WireFormatError("the batch's zlib stream ends too soon")
    if stream.unused_data:
        raise WireFormatError(f"{len(stream.unused_data)} bytes follow the batch's zlib stream")
    return data


def _netstrings(data: bytes) -> list[bytes]:
    frames: list[bytes] = []
    at = 0
    while at < len(data):
        found = _LENGTH.match(data, at)
        if found is None:
            raise WireFormatError(f"the inflated batch has no length at byte {at}")
        start, end = found.end(), found.end() + int(found[1])
        if data[end : end + 1] != b",":
            raise WireFormatError(f"the inflated batch: what starts at byte {at} does not end where it says")
        inner = data[start:end]
        frames.append(_OPEN + inner + _CLOSE if inner.startswith(_ENVELOPE) else inner)
        if len(frames) > MAX_BATCH_COUNT:
            raise WireFormatError(f"the batch holds more than {MAX_BATCH_COUNT} stanzas")
        at = end + 1
    return frames
