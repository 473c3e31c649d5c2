"""What the tests of streams share: a stream that remembers what arrives, and a relay that stands between it and a real server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self
from xml.etree.ElementTree import Element

from unimsg.registry import URL
from unimsg.testing import Server
from unimsg_xmpp.settings import settings_of
from unimsg_xmpp.stream import Stream

PING = '<ping xmlns="urn:xmpp:ping"/>'


class Ear:
    """A stream and what it heard, in queues."""

    def __init__(self, url: str, features: Sequence[str] = ()) -> None:
        self.iqs: asyncio.Queue[Element] = asyncio.Queue()
        self.messages: asyncio.Queue[Element] = asyncio.Queue()
        self.presences: asyncio.Queue[Element] = asyncio.Queue()
        self.losses: asyncio.Queue[BaseException] = asyncio.Queue()
        self.stream = Stream(
            settings_of(URL(url)),
            on_iq=self.iqs.put_nowait,
            on_message=self.messages.put_nowait,
            on_presence=self.presences.put_nowait,
            on_lost=self.losses.put_nowait,
            features=features,
        )


_open: set[Ear] = set()


def left() -> set[asyncio.Task[Any]]:
    """Return the tasks that slixmpp or a stream runs now."""
    return {task for task in asyncio.all_tasks() if re.search("/(slixmpp|unimsg_xmpp)/", task.get_coro().cr_code.co_filename)}  # type: ignore[union-attr]


@contextlib.asynccontextmanager
async def opened(url: str, features: Sequence[str] = ()) -> AsyncIterator[Ear]:
    """Give an open stream; close it, and see that it leaves no task behind."""
    ear = Ear(url, features)
    _open.add(ear)
    try:
        await ear.stream.open()
        yield ear
    finally:
        await ear.stream.close()
        _open.discard(ear)
    assert _open or not left()


async def refused(url: str, error: type[BaseException]) -> str:
    """Return what `open` raises, and see that it leaves no task behind and nothing to be lost."""
    ear, before = Ear(url), left()
    try:
        await ear.stream.open()
    except error as caught:
        assert type(caught) is error  # noqa: PT017  (a subclass would be another promise)
        said = str(caught)
    else:
        await ear.stream.close()
        raise AssertionError(f"no {error.__name__}")
    assert left() <= before
    assert not ear.stream.up
    assert ear.losses.empty()
    return said


class Relay:
    """A TCP relay to a server's port: it can stop to read, cut, and change what the server says in the clear."""

    def __init__(self, server: Server, port: int | None = None, change: Callable[[bytes], bytes] | None = None) -> None:
        self.host, self.target = server.host, port or server.port
        self.change = change
        self.reading = asyncio.Event()
        self.reading.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections without a word."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):  # the stream server of Python 3.11 would complain of a cancelled task
            there, back = await asyncio.open_connection(self.host, self.target)
            self._writers.add(back)
            await asyncio.gather(self._pass(reader, back, None), self._pass(there, writer, self.change))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes] | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                if change is None:
                    await self.reading.wait()
                data = await reader.read(65536)
                if not data:
                    break
                writer.write(change(data) if change else data)
                await writer.drain()
        writer.close()
