"""The wire format, `urn:unimsg:1`: messages to canonical XML stanzas and back, without any I/O (docs/wire-format.md).

The functions are imported on first use (PEP 562), so that a program that only asks for a limit does not wait for a codec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


if not TYPE_CHECKING:  # or every name would be there for type checkers

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home = "limits" if name.isupper() else "batch" if "batch" in name else "codec"
        found = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
