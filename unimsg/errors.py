"""Every error that unimsg raises, in one tree.

UnimsgError                     .retryable: may the same call succeed later?  .native: the broker client's own error
├── ConnectionFailedError       could not connect, or the connection is gone for good    (also a ConnectionError)
│   └── ConnectionLostError     the connection broke; we are reconnecting                 (retryable)
├── SecurityError               the broker refused the credentials or the right           (JMSSecurityException)
├── InvalidURLError             the URL or one of its options makes no sense              (also a ValueError)
├── BackendNotFoundError        no backend has this URL scheme
├── BackendNotInstalledError    the backend is there, its client library is not: the error names the extra
├── IllegalStateError           the call does not fit the object's state or mode          (IllegalStateException)
│   └── ClosedError             the object, or what it belongs to, was closed
├── InvalidClientIDError        another live connection has this client id                (InvalidClientIDException)
├── InvalidDestinationError     a bad name, a pattern to send to, somebody's temporary one (InvalidDestinationException)
├── InvalidSelectorError        the selector is not one; .position says where             (InvalidSelectorException)
├── MessageFormatError          a body, property or header that cannot be carried or read (MessageFormatException)
│   └── WireFormatError         bytes that are no unimsg stanza; .position, .cause
├── ResourceAllocationError     a limit of the broker or of this machine                  (ResourceAllocationException)
│   ├── MessageTooLargeError    the payload is over the backend's limit; .size, .limit
│   ├── SlowConsumerError       a live subscriber fell behind its limit with overflow="fail"
│   └── StoreError              the store's file: full disk, read-only, foreign, newer, corrupt
├── TransactionRolledBackError  the commit did nothing; the work may be done again        (TransactionRolledBackException)
├── PartialSendError            of a batch some were not confirmed; .failures
└── UnsupportedError            this backend does not do that; .feature                   (UnsupportedOperationException)

A time-out is Python's own TimeoutError. Source of the JMS names: Jakarta Messaging 3.1, chapter 10.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BackendNotFoundError",
    "BackendNotInstalledError",
    "ClosedError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "IllegalStateError",
    "InvalidClientIDError",
    "InvalidDestinationError",
    "InvalidSelectorError",
    "InvalidURLError",
    "MessageFormatError",
    "MessageTooLargeError",
    "PartialSendError",
    "ResourceAllocationError",
    "SecurityError",
    "SlowConsumerError",
    "StoreError",
    "TransactionRolledBackError",
    "UnimsgError",
    "UnsupportedError",
    "WireFormatError",
]


class UnimsgError(Exception):
    """Be the root of everything that unimsg raises on its own account."""

    retryable: bool = False
    native: BaseException | None = None


class ConnectionFailedError(UnimsgError, ConnectionError):
    """Say that there is no connection, and that none will come by itself."""


class ConnectionLostError(ConnectionFailedError):
    """Say that the connection broke; the client reconnects unless it was told not to."""

    retryable = True


class SecurityError(UnimsgError):
    """Say that the broker refused who we are, or what we may do."""


class InvalidURLError(UnimsgError, ValueError):
    """Say which part of a URL makes no sense, without repeating its password."""


class BackendNotFoundError(UnimsgError):
    """Say that no installed backend has this scheme, and which there are."""


class BackendNotInstalledError(UnimsgError, ImportError):
    """Say which extra brings the client library that this backend needs."""


class IllegalStateError(UnimsgError):
    """Say that a call does not fit the state or the mode that its object is in."""


class ClosedError(IllegalStateError):
    """Say that the object, or the connection that it belongs to, was closed."""


class InvalidClientIDError(UnimsgError):
    """Say that another live connection holds this client id."""


class InvalidDestinationError(UnimsgError):
    """Say what is wrong with a destination: its name, its owner, or what was asked of it."""


class InvalidSelectorError(UnimsgError, ValueError):
    """Say why a text is no selector, and at which character (`position`, from 0)."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class MessageFormatError(UnimsgError, ValueError):
    """Say which body, property or header cannot be carried, or cannot be read as what was asked."""


class WireFormatError(MessageFormatError):
    """Say why bytes are no unimsg stanza: `cause`, and `position` in bytes from 0 where it is known."""

    def __init__(self, cause: str, position: int | None = None) -> None:
        super().__init__(cause if position is None else f"{cause} (at byte {position})")
        self.cause = cause
        self.position = position

    def __reduce__(self) -> tuple[type[WireFormatError], tuple[str, int | None]]:
        return type(self), (self.cause, self.position)


class ResourceAllocationError(UnimsgError):
    """Say which limit was reached."""


class MessageTooLargeError(ResourceAllocationError):
    """Say how large a message is (`size`, bytes) and what the backend takes (`limit`, bytes)."""

    def __init__(self, message: str, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class SlowConsumerError(ResourceAllocationError):
    """Say that a live subscription with overflow="fail" fell behind its limit and was cut."""


class StoreError(ResourceAllocationError):
    """Say what is wrong with the file behind an embedded broker, and what to do."""


class TransactionRolledBackError(UnimsgError):
    """Say that a commit did nothing; what it was to do may be done again."""

    retryable = True


class PartialSendError(UnimsgError):
    """Say which frames of a batch were not confirmed: `failures`, position in the batch to its error."""

    def __init__(self, failures: Mapping[int, Exception]) -> None:
        first = next(iter(failures.values()), None)
        super().__init__(f"{len(failures)} of the batch were not confirmed; the first: {first}")
        self.failures = dict(failures)


class UnsupportedError(UnimsgError):
    """Say that this backend does not do what was asked (`feature`, as in `connection.capabilities`)."""

    def __init__(self, message: str, feature: str | None = None) -> None:
        super().__init__(message)
        self.feature = feature
