"""The ways in and out: which codec a message or its bytes go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unimsg.errors import MessageFormatError
from unimsg.message import Message, ReceivedMessage
from unimsg.wire import generic, hot
from unimsg.wire.flat import strictly
from unimsg.wire.judge import FOREIGN, judge
from unimsg.wire.limits import ENVELOPE_OPEN, MAX_STANZA, MESSAGE_CLOSE, MESSAGE_OPEN
from unimsg.wire.split import split
from unimsg.wire.strict import tree_of

__all__ = ["decode", "decode_element", "encode", "encode_envelope", "encode_parts"]

_OPEN, _CLOSE = MESSAGE_OPEN.encode(), MESSAGE_CLOSE.encode()
_BARE = ENVELOPE_OPEN.encode()


def encode(message: Message[Any]) -> bytes:
    """Return the canonical bytes of a message, a whole stanza.

    A received message keeps the types and the texts of its values, whatever they came in. Raises MessageFormatError with
    the header, property or place in the body that the wire cannot carry, and MessageTooLargeError over 16 MiB.
    """
    if isinstance(message, ReceivedMessage):
        if message.raw is not None:
            return message.raw
        reader, state = message.wire
        return message.keep(reader.canonical(state))
    return encode_parts(message.head, message.properties, message.body_kind, message.payload)


def encode_parts(head: Mapping[str, Any], properties: Mapping[str, Any], kind: str | None, payload: Any) -> bytes:
    """Return the canonical bytes of a message that is not built yet: wire headers, properties, and the body as in `unimsg.bodies`."""
    data = hot.write(head, properties, kind, payload)
    return data if data is not None else generic.write(head, properties, kind, payload)


def encode_envelope(message: Message[Any]) -> bytes:
    """Return the canonical bytes of the `<envelope>` alone, as a pubsub item carries it. Raises MessageFormatError."""
    data = encode(message)
    if not data.startswith(_OPEN + _BARE):
        raise MessageFormatError(f"a message of a later version ({message.properties.get(FOREIGN)}) has no envelope of this one")
    return data[len(_OPEN) : -len(_CLOSE)]


def decode(data: bytes | bytearray | memoryview) -> ReceivedMessage[Any]:
    """Return the message of a stanza, or of a bare envelope.

    Headers are read at once, properties and body on first use; a value that cannot be read raises when it is asked for.
    Raises WireFormatError with the cause and, where it is known, the position in bytes.
    """
    if type(data) is not bytes:
        data = bytes(data)
    if len(data) <= MAX_STANZA:
        stanza = data if not data.startswith(_BARE) else _OPEN + data + _CLOSE  # canonical alone means canonical in its stanza
        try:
            text = str(stanza, "utf-8")
        except UnicodeDecodeError:
            return strictly(data)
        message = hot.match(text, stanza)
        if message is None:
            message = split(text, stanza)
            if message is None:
                return strictly(data)
            hot.seen(message)
        return message
    return strictly(data)


def decode_element(element: Any) -> ReceivedMessage[Any]:
    """Return the message of a `<message>` or `<envelope>` that was parsed already.

    `element` is like those of ElementTree: `.tag` and `.attrib` in Clark's notation, `.text`, `.tail`, and it iterates
    over its children. Raises WireFormatError.
    """
    return judge(tree_of(element), None)
