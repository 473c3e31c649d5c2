"""The stage of the demo: its processes, started, listened to, killed and ended."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from unimsg.cli.outcome import PROBLEM, Stop

__all__ = ["Actor"]


class Actor:
    """A child process and its reports; `hear` gets each report as it comes."""

    def __init__(self, name: str, url: str, work: str, arguments: dict[str, Any], hear: Callable[[dict[str, Any]], None]) -> None:
        self.name = name
        self.state = "not started"
        self._environment = {**os.environ, "UNIMSG_URL": url}
        self._command = (sys.executable, "-m", "unimsg.cli.demo", work, json.dumps(arguments))
        self._hear = hear
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process; `ready` waits for its word."""
        self._ready.clear()
        self.state = "starting"
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environment)
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  (for the type checker: it is a pipe)
        assert process.stderr is not None  # noqa: S101
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            if not line.endswith(b"\n"):
                break  # killed in the middle of a report: what it tells of was not acknowledged, and comes again
            report = json.loads(line)
            if "ready" in report:
                self.state = "listening"
                self._ready.set()
            else:
                self._hear(report)
        code = await process.wait()
        if self.state == "killed":
            await errors
        elif code != 0:
            self.state = "failed"
            last = (await errors).decode(errors="replace").strip().splitlines()
            raise Stop(PROBLEM, f"the process {self.name!r} ended with code {code}: {last[-1] if last else 'without a word'}")
        else:
            await errors
            self.state = "done"

    async def ready(self) -> None:
        """Wait until it has said that it is ready. Raises Stop if it ends first."""
        await self._or_end(self._ready.wait())

    async def ended(self) -> None:
        """Wait for the end of the process. Raises Stop if it failed."""
        if self._reading is not None:
            await asyncio.shield(self._reading)

    def check(self) -> None:
        """Raise Stop if it has failed."""
        if self._reading is not None and self._reading.done():
            self._reading.result()

    async def _or_end(self, wanted: Any) -> None:
        assert self._reading is not None  # noqa: S101  (started)
        waiting = asyncio.ensure_future(wanted)
        try:
            await asyncio.wait((waiting, self._reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self._ready.is_set():
            self.check()
            raise Stop(PROBLEM, f"the process {self.name!r} ended before it was ready")

    async def kill(self) -> None:
        """End it as `kill -9` does, without a chance to say goodbye, and wait until it is gone."""
        assert self._process is not None  # noqa: S101  (started)
        self.state = "killed"
        self._process.kill()
        await self.ended()

    async def dismiss(self) -> None:
        """Close its standard input, by which it knows that there is nothing more to wait for, and wait for its end."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        await self.ended()

    async def clear(self) -> None:
        """Make sure that nothing of it is left, whatever happened."""
        if self._process is not None and self._process.returncode is None:
            self.state = "killed"
            self._process.kill()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
