"""A connection that can be cut: the real embedded driver, behind a line that a test can break."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from unimsg.client.connection import Connection
from unimsg.client.options import Backoff, RedeliveryPolicy
from unimsg.driver import Driver, Identity
from unimsg.errors import ConnectionLostError
from unimsg.registry import make_driver


class Line:
    """Wrap a driver; `cut` breaks it as a network would: calls under way fail, and nobody knows what they did."""

    def __init__(self, url: str, identity: Identity) -> None:
        self._make: Callable[[], Driver] = lambda: make_driver(url, identity)
        self.inner = self._make()
        self.capabilities = self.inner.capabilities
        self.refuse_opening = 0
        self.lose_answers = 0
        self.opened = 0
        self._broken: asyncio.Future[None]
        self._on_lost: Callable[[BaseException], None]

    async def open(self, on_lost: Callable[[BaseException], None]) -> None:
        if self.refuse_opening:
            self.refuse_opening -= 1
            raise ConnectionLostError("refused by the test")
        if self.opened:
            self.inner = self._make()
        self.opened += 1
        self._broken = asyncio.get_running_loop().create_future()
        self._on_lost = on_lost
        await self.inner.open(on_lost)

    async def cut(self) -> None:
        """Break the line."""
        self._broken.set_result(None)
        await self.inner.close()
        self._on_lost(ConnectionLostError("cut by the test"))

    async def over(self, call: Awaitable[Any]) -> Any:
        """Make a call over the line."""
        if self._broken.done():
            if asyncio.iscoroutine(call):
                call.close()
            raise ConnectionLostError("the line is cut")
        task = asyncio.ensure_future(call)
        broken = self._broken
        try:
            await asyncio.wait((task, broken), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise ConnectionLostError("the line was cut")
        if broken.done():
            task.exception()
            raise ConnectionLostError("the line was cut")
        return task.result()

    async def close(self) -> None:
        await self.inner.close()

    async def sender(self, destination: Any) -> Any:
        return End(self, await self.over(self.inner.sender(destination)))

    async def receiver(self, source: Any, credit: int) -> Any:
        return End(self, await self.over(self.inner.receiver(source, credit)))

    async def commit(self, sends: Any, settlements: Sequence[tuple[Any, Any]]) -> None:
        await self.over(self.inner.commit(sends, [(end.inner, settled) for end, settled in settlements]))

    async def declare(self, destination: Any) -> None:
        await self.over(self.inner.declare(destination))

    def is_retryable(self, error: BaseException) -> bool:
        return isinstance(error, ConnectionLostError) or self.inner.is_retryable(error)

    def error_of(self, error: BaseException) -> BaseException:
        return self.inner.error_of(error)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class End:
    """A sender or receiver at the far end of the line."""

    def __init__(self, line: Line, inner: Any) -> None:
        self.line = line
        self.inner = inner
        self._broken = line._broken

    async def send(self, frames: Any) -> None:
        await self.line.over(self.inner.send(frames))
        if self.line.lose_answers:
            self.line.lose_answers -= 1
            await self.line.cut()
            raise ConnectionLostError("the answer was lost")

    async def receive(self, limit: int, timeout: float | None) -> Any:
        return await self._own(self.inner.receive(limit, timeout))

    async def settle(self, settlements: Any) -> Any:
        return await self._own(self.inner.settle(settlements))

    async def extend(self, tokens: Any, seconds: float) -> Any:
        return await self._own(self.inner.extend(tokens, seconds))

    async def _own(self, call: Any) -> Any:
        if self._broken.done():
            call.close()
            raise ConnectionLostError("this end belongs to a line that was cut")
        return await self.line.over(call)

    def dropped(self) -> int:
        return int(self.inner.dropped())

    async def close(self) -> None:
        await self.inner.close()


async def connect(url: str, *, backoff: Backoff | None = None, client_id: str | None = None) -> tuple[Connection, Line]:
    """Return a connection and its line."""
    identity = Identity(uuid.uuid4().hex, client_id)
    line = Line(url, identity)
    pace = backoff if backoff is not None else Backoff(first=0.01, most=0.05)
    connection = Connection(line, identity, "line", RedeliveryPolicy(), pace)
    await connection.link.open()
    return connection, line
