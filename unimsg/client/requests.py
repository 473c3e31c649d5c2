"""Request and reply: one temporary queue and one listener a connection, answers matched by correlation id."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from unimsg.client.producer import Producer
from unimsg.client.receipt import Receipt
from unimsg.client.stamp import target_of
from unimsg.destination import Destination, TemporaryQueue
from unimsg.errors import ClosedError, InvalidDestinationError
from unimsg.headers import check_seconds
from unimsg.message import Message, ReceivedMessage

if TYPE_CHECKING:
    from unimsg.client.connection import Connection
    from unimsg.client.consumer import Consumer

__all__ = ["Requests"]

log = logging.getLogger("unimsg")


class Requests:
    """Ask and answer for one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[ReceivedMessage[Any]]] = {}
        self._opening = asyncio.Lock()
        self._producer: Producer[Any] | None = None
        self._inbox: TemporaryQueue[Any] | None = None
        self._consumer: Consumer[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def listens(self, consumer: Consumer[Any]) -> bool:
        """Tell whether this is the consumer of the answers."""
        return consumer is self._consumer

    async def _ready(self, listening: bool) -> Producer[Any]:
        async with self._opening:
            if self._producer is None:
                self._producer = await self._connection.producer()
            if listening and self._inbox is None:
                self._inbox = await self._connection.temporary_queue()
            if listening and self._inbox is not None and (self._task is None or self._task.done()):
                self._consumer = await self._connection.consumer(self._inbox)
                self._task = asyncio.get_running_loop().create_task(self._listen(self._consumer), name="unimsg replies")
        return self._producer

    async def _listen(self, consumer: Consumer[Any]) -> None:
        error: Exception = ClosedError("the connection was closed before an answer came")
        try:
            async for message in consumer:
                waiting = self._waiting.pop(message.correlation_id or "", None)
                if waiting is None or waiting.done():
                    log.debug("an answer came too late, or for nobody: %s", message.correlation_id)
                else:
                    waiting.set_result(message)
        except Exception as failed:  # noqa: BLE001  (whatever ends the listening ends the requests)
            error = failed
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(error)
            self._waiting.clear()

    async def request(self, destination: Destination[Any], body: Any, timeout: float | None, options: Any) -> ReceivedMessage[Any]:
        """Send a request and wait for its answer. Raises TimeoutError after `timeout` seconds, ClosedError."""
        self._connection.link.check()
        if timeout is not None:
            check_seconds("timeout", timeout)
        if "reply_to" in options:
            raise ValueError("request() brings its own reply_to; to have the answer sent elsewhere, send() with reply_to=")
        try:
            async with asyncio.timeout(timeout) as limit:
                producer = await self._ready(listening=True)
                stamped = self._connection.stamper(target_of(destination), body, {**options, "reply_to": self._inbox})
                receipt: Receipt[Any] = Receipt(stamped)
                key = stamped.head.get("correlation-id") or receipt.message_id
                if key in self._waiting:
                    raise ValueError(f"a request with correlation_id {key!r:.60} is waiting already")
                answer = asyncio.get_running_loop().create_future()
                self._waiting[key] = answer
                try:
                    if producer.outbox.tight:
                        await producer.outbox.room()
                    await producer.outbox.send(receipt)
                    return await answer  # type: ignore[no-any-return]
                finally:
                    if self._waiting.get(key) is answer:
                        del self._waiting[key]
                    if answer.done() and not answer.cancelled():
                        answer.exception()  # the listener has ended, but sending failed first: that is the one to see
        except TimeoutError:
            if timeout is None or not limit.expired():
                raise
            raise TimeoutError(f"no answer from {destination} within {timeout:g} s") from None

    async def reply(self, request: Message[Any], body: Any, options: Any) -> Message[Any]:
        """Answer a request: to its reply_to, with its correlation id or else its message id."""
        self._connection.link.check()
        to = request.reply_to
        if to is None:
            raise InvalidDestinationError("this message has no reply_to: nobody waits for an answer")
        producer = await self._ready(listening=False)
        return await producer.send(body, **{"correlation_id": request.correlation_id or request.message_id, **options, "to": to})

    async def close(self) -> None:
        """End the listener; who waits for an answer hears ClosedError."""
        if self._consumer is not None:
            await self._consumer.close()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
