"""The browser: look at what a queue holds, taking nothing (JMS 3.1 §4.6, QueueBrowser)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from unimsg import wire
from unimsg.client.source import check_owner
from unimsg.destination import Destination
from unimsg.errors import ClosedError, InvalidDestinationError, WireFormatError
from unimsg.message import ReceivedMessage
from unimsg.selector import compile_selector

if TYPE_CHECKING:
    from types import TracebackType

    from unimsg.client.connection import Connection
    from unimsg.driver import Frame

__all__ = ["Browser"]

T = TypeVar("T")


class Browser(Generic[T]):
    """Iterate over it, as often as you like: `async for message in connection.browse(queue)`; also a context manager."""

    def __init__(self, connection: Connection, destination: Destination[T], selector: str | None) -> None:
        """Be made by `connection.browse(...)`, which judges the selector and the destination."""
        self._connection = connection
        self._destination = destination
        compiled = compile_selector(selector)
        if destination.is_topic:
            raise InvalidDestinationError(f"a browser looks at a Queue, not at {destination!s:.60}")
        check_owner(destination, connection.connection_id)
        capabilities = connection.capabilities
        capabilities.require("browse", str(destination))
        native = capabilities.native("selector.queue")
        self._pushed = compiled.text if compiled is not None and native else None
        self._selector = None if native else compiled
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[ReceivedMessage[T]]:
        link = self._connection.link
        if self._closed:
            raise ClosedError("this browser is closed")
        await link.up()
        frames = link.driver.browse(self._destination, self._pushed)
        try:
            async for frame in frames:
                message = self._message(frame)
                if message is not None:
                    yield message
        except Exception as error:
            ours = link.error_of(error)
            if ours is error:
                raise
            raise ours from error

    def _message(self, frame: Frame) -> ReceivedMessage[T] | None:
        try:
            message: ReceivedMessage[Any] = wire.decode(frame.data)
        except WireFormatError:
            return None  # a consumer will move it to the dead letters, with the reason; there is nothing to show of it
        expiration = message.head.get("expiration")
        if expiration is not None and expiration <= datetime.now(UTC):
            return None
        if self._selector is not None and not self._selector.matches_message(message):
            return None
        return message.seen_as(self._destination.body_type)

    async def close(self) -> None:
        """Close it; an iteration that is under way ends at its next step."""
        self._closed = True

    async def _opened(self) -> Self:
        await self._connection.link.up()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._opened().__await__()

    async def __aenter__(self) -> Self:
        return await self._opened()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
