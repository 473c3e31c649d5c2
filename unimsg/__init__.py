"""One messaging API and one wire format, on any broker.

`async with unimsg.connect("memory://") as connection:` is where everything starts; README.md shows the rest.
"""

from unimsg import wire
from unimsg.bodies import Field, Fields, Json, Map, Stream
from unimsg.capabilities import Capabilities, Feature, Limits, Support
from unimsg.client.browser import Browser
from unimsg.client.connection import Connection, Health, connect
from unimsg.client.consumer import Consumer
from unimsg.client.options import Backoff, RedeliveryPolicy, SendOptions
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
    "wire",
]
