"""One messaging API and one wire format, on any broker.

`async with unimsg.connect("memory://") as connection:` is where everything starts; README.md shows the rest.
Names are imported on first use (PEP 562), so that `import unimsg` costs a program nothing that it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unimsg import errors, values, wire
    from unimsg.bodies import Field, Fields, Json, Map, Stream
    from unimsg.capabilities import Capabilities, Feature, Limits, Support
    from unimsg.client.browser import Browser
    from unimsg.client.connection import Connection, Health, connect
    from unimsg.client.consumer import Consumer
    from unimsg.client.options import Backoff, ConsumerOptions, RedeliveryPolicy, SendOptions
    from unimsg.client.producer import Producer
    from unimsg.client.receipt import Receipt
    from unimsg.client.session import Session
    from unimsg.destination import Destination, Queue, TemporaryQueue, TemporaryTopic, Topic
    from unimsg.errors import (
        BackendNotFoundError,
        BackendNotInstalledError,
        ClosedError,
        ConnectionFailedError,
        ConnectionLostError,
        IllegalStateError,
        InvalidClientIDError,
        InvalidDestinationError,
        InvalidSelectorError,
        InvalidURLError,
        MessageFormatError,
        MessageTooLargeError,
        PartialSendError,
        ResourceAllocationError,
        SecurityError,
        SlowConsumerError,
        StoreError,
        TransactionRolledBackError,
        UnimsgError,
        UnsupportedError,
        WireFormatError,
    )
    from unimsg.headers import DeliveryMode
    from unimsg.message import Message, ReceivedMessage
    from unimsg.selector import Selector

# Where each name is at home; a test holds this table to the imports above, which are for type checkers.
_HOMES = {
    "unimsg.bodies": "Field Fields Json Map Stream",
    "unimsg.capabilities": "Capabilities Feature Limits Support",
    "unimsg.client.browser": "Browser",
    "unimsg.client.connection": "Connection Health connect",
    "unimsg.client.consumer": "Consumer",
    "unimsg.client.options": "Backoff ConsumerOptions RedeliveryPolicy SendOptions",
    "unimsg.client.producer": "Producer",
    "unimsg.client.receipt": "Receipt",
    "unimsg.client.session": "Session",
    "unimsg.destination": "Destination Queue TemporaryQueue TemporaryTopic Topic",
    "unimsg.errors": (
        "BackendNotFoundError BackendNotInstalledError ClosedError ConnectionFailedError ConnectionLostError IllegalStateError "
        "InvalidClientIDError InvalidDestinationError InvalidSelectorError InvalidURLError MessageFormatError MessageTooLargeError "
        "PartialSendError ResourceAllocationError SecurityError SlowConsumerError StoreError TransactionRolledBackError UnimsgError "
        "UnsupportedError WireFormatError"
    ),
    "unimsg.headers": "DeliveryMode",
    "unimsg.message": "Message ReceivedMessage",
    "unimsg.selector": "Selector",
}
_MODULES = ("errors", "values", "wire")
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"unimsg.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'unimsg' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


__all__ = [
    "Backoff",
    "BackendNotFoundError",
    "BackendNotInstalledError",
    "Browser",
    "Capabilities",
    "ClosedError",
    "Connection",
    "ConnectionFailedError",
    "ConnectionLostError",
    "Consumer",
    "ConsumerOptions",
    "DeliveryMode",
    "Destination",
    "Feature",
    "Field",
    "Fields",
    "Health",
    "IllegalStateError",
    "InvalidClientIDError",
    "InvalidDestinationError",
    "InvalidSelectorError",
    "InvalidURLError",
    "Json",
    "Limits",
    "Map",
    "Message",
    "MessageFormatError",
    "MessageTooLargeError",
    "PartialSendError",
    "Producer",
    "Queue",
    "Receipt",
    "ReceivedMessage",
    "RedeliveryPolicy",
    "ResourceAllocationError",
    "SecurityError",
    "Selector",
    "SendOptions",
    "Session",
    "SlowConsumerError",
    "StoreError",
    "Stream",
    "Support",
    "TemporaryQueue",
    "TemporaryTopic",
    "Topic",
    "TransactionRolledBackError",
    "UnimsgError",
    "UnsupportedError",
    "WireFormatError",
    "connect",
    "errors",
    "values",
    "wire",
]
