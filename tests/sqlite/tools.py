"""Frames and deliveries in short, and programs that use the same file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimsg.destination import Destination, Queue
from unimsg.driver import Delivery, Frame, Route, Settlement, Source
from unimsg_embedded import SqliteDriver

Q = Queue("q")


def frame(text: str | bytes, to: Destination[Any] = Q, **route: Any) -> Frame:
    return Frame(text.encode() if isinstance(text, str) else text, Route(to, **route))


def texts(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.frame.data.decode() for delivery in deliveries]


async def send(driver: SqliteDriver, *given: str | Frame, to: Destination[Any] = Q) -> None:
    sender = await driver.sender(None)
    await sender.send([frame(each, to) if isinstance(each, str) else each for each in given])


async def drain(driver: SqliteDriver, queue: Destination[Any] = Q) -> list[str]:
    """Take and accept all that is there now."""
    receiver = await driver.receiver(Source(queue), 1000)
    found: list[str] = []
    while some := await receiver.receive(1000, 0):
        assert await receiver.settle([Settlement(each.token) for each in some]) == []
        found += texts(some)
    await receiver.close()
    return found


class Program:
    """A Python program with `driver` open on the file, as a process of its own; it prints lines, and is told lines."""

    PRELUDE = """
import asyncio, sys, time
from pathlib import Path
from unimsg.destination import *
from unimsg.driver import *
from unimsg.registry import URL
from unimsg_embedded import SqliteDriver
q = Queue("q")
def say(*what): print(*what, flush=True)
async def hear(): return (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip()
async def main():
    driver = SqliteDriver(URL(sys.argv[1]), Identity(sys.argv[2], sys.argv[3] or None))
    await driver.open(lambda error: say("lost", error))
    sender = await driver.sender(None)
"""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, path: Path, body: str, name: str = "other", client_id: str = "", options: str = "") -> Program:
        lines = "\n".join("    " + line for line in body.strip().splitlines())
        text = f"{cls.PRELUDE}{lines}\n    await driver.close()\nasyncio.run(main())\n"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", text, f"sqlite:///{path}{options}", name, client_id, stdin=pipe, stdout=pipe)
        return cls(process)

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()

    async def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.end()

    async def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = await self.process.wait()
        self.process._transport.close()  # type: ignore[attr-defined]  # else its pipes are closed by the collector, with a warning
        return code
