"""Our errors as XMPP's, and back: one table, read in both directions.

A request that fails is answered by an `<error/>` (RFC 6120 §8.3): one of the defined conditions, which any client
understands, and beside it one of ours in `urn:unimsg:queue:1`, which says what it is in JMS's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

from unimsg.errors import (
    ClosedError,
    ConnectionLostError,
    IllegalStateError,
    InvalidClientIDError,
    InvalidDestinationError,
    InvalidSelectorError,
    MessageFormatError,
    MessageTooLargeError,
    ResourceAllocationError,
    SecurityError,
    SlowConsumerError,
    StoreError,
    TransactionRolledBackError,
    UnimsgError,
    UnsupportedError,
    WireFormatError,
)
from unimsg_xmpp.protocol import NAMESPACE, BadRequestError, element
from unimsg_xmpp.stream import StanzaError

__all__ = ["NoSessionError", "Refusal", "error_of", "failed_of", "failure_details", "failure_of", "refusal_of", "shown"]


class NoSessionError(ConnectionLostError):
    """Say that the service knows no session of this address: it was restarted, or has given the session up."""


class Row(NamedTuple):
    """An error class, the kind and condition of RFC 6120 §8.3.3 that it is sent as, and our own condition."""

    error: type[UnimsgError]
    kind: str
    condition: str
    name: str


# The first row whose class fits is taken, so the special ones come before what they are a kind of.
TABLE = (
    Row(NoSessionError, "cancel", "unexpected-request", "no-session"),  # out of order: open first
    Row(ConnectionLostError, "wait", "internal-server-error", "service-trouble"),
    Row(SecurityError, "auth", "not-authorized", "access-denied"),
    Row(InvalidClientIDError, "cancel", "conflict", "client-id-in-use"),
    Row(InvalidDestinationError, "cancel", "item-not-found", "invalid-destination"),
    Row(InvalidSelectorError, "modify", "bad-request", "invalid-selector"),
    Row(MessageTooLargeError, "modify", "not-acceptable", "message-too-large"),
    Row(SlowConsumerError, "cancel", "resource-constraint", "slow-consumer"),
    Row(StoreError, "wait", "internal-server-error", "store-failed"),
    Row(ResourceAllocationError, "wait", "resource-constraint", "limit-reached"),
    Row(TransactionRolledBackError, "cancel", "conflict", "rolled-back"),
    Row(WireFormatError, "modify", "bad-request", "malformed-message"),
    Row(MessageFormatError, "modify", "bad-request", "malformed-message"),
    Row(BadRequestError, "modify", "bad-request", "malformed-request"),
    Row(UnsupportedError, "cancel", "feature-not-implemented", "unsupported"),
    Row(ClosedError, "cancel", "item-not-found", "ended"),
    Row(IllegalStateError, "cancel", "not-allowed", "illegal-state"),
    Row(UnimsgError, "wait", "internal-server-error", "service-trouble"),
)
_BY_NAME = {row.name: row for row in reversed(TABLE)}
_GONE = ("service-unavailable", "remote-server-not-found", "remote-server-timeout", "recipient-unavailable", "gone", "item-not-found")
"""What a server answers in the place of a service that is not there."""


class Refusal(NamedTuple):
    """What `Stream.refuse` takes: the kind, the condition, the text and our own condition as XML."""

    kind: str
    condition: str
    text: str
    application: str


def _row(error: BaseException) -> Row:
    return next((row for row in TABLE if isinstance(error, row.error)), TABLE[-1])


def _details(error: BaseException) -> Mapping[str, object]:
    if isinstance(error, MessageTooLargeError):
        return {"size": error.size, "limit": error.limit}
    if isinstance(error, InvalidSelectorError) and error.position is not None:
        return {"position": error.position}
    if isinstance(error, UnsupportedError) and error.feature is not None:
        return {"feature": error.feature}
    return {}


def shown(error: BaseException) -> str:
    """Return an error's text as it may travel: without characters that XML forbids, and not too long."""
    text = str(error) or type(error).__name__
    return "".join(char if char.isprintable() else " " for char in text)[:1000]


def refusal_of(error: BaseException) -> Refusal:
    """Return how an error is sent. What is none of ours is a trouble of the service, and its text stays at home."""
    row = _row(error)
    text = shown(error) if isinstance(error, UnimsgError) else "something went wrong in the service"
    return Refusal(row.kind, row.condition, text, element(row.name, _details(error)))


def failure_details(error: BaseException) -> dict[str, object]:
    """Return an error as the attributes of `<failed/>` and `<ended/>`."""
    text = shown(error) if isinstance(error, UnimsgError) else "something went wrong in the service"
    return {"error": _row(error).name, "text": text, **_details(error)}


def failure_of(place: int, error: BaseException, *, wordy: bool = True) -> str:
    """Return a `<failed/>`: one message of a submission that was refused, while others were taken; its text only if `wordy`."""
    details = failure_details(error)
    if not wordy:
        del details["text"]
    return element("failed", {"at": place, **details}, nested=True)


def _build(row: Row, text: str, details: Mapping[str, str]) -> UnimsgError:
    def whole(name: str) -> int:
        value = details.get(name, "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0

    if row.error is MessageTooLargeError:
        return MessageTooLargeError(text, whole("size"), whole("limit"))
    if row.error is InvalidSelectorError:
        return InvalidSelectorError(text, whole("position") if "position" in details else None)
    if row.error is UnsupportedError:
        return UnsupportedError(text, details.get("feature"))
    return row.error(text)


def failed_of(failed: Element) -> UnimsgError:
    """Return the error that a `<failed/>` tells of."""
    row = _BY_NAME.get(failed.get("error", ""), TABLE[-1])
    return _build(row, failed.get("text", row.name), failed.attrib)


def error_of(error: StanzaError, service: str) -> UnimsgError:
    """Return our error for the service's, or for the one that a server sends in its place."""
    text = error.text or error.condition
    if error.element is not None and error.element.tag.startswith(f"{{{NAMESPACE}}}"):
        row = _BY_NAME.get(error.element.tag.rpartition("}")[2], TABLE[-1])
        return _build(row, text, error.element.attrib)
    if error.condition in _GONE:
        return ConnectionLostError(f"the service {service} does not answer ({text}): is it running? Start it with `unimsg serve`")
    if error.kind == "auth":
        return SecurityError(f"{service}: {text}")
    if error.kind == "wait":
        return ConnectionLostError(f"{service}: {text}")
    return UnimsgError(f"{service}: {error.condition}: {text}")
