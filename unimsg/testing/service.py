"""The XMPP service in a process of its own, for tests that kill it and for `unimsg testing up`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from unimsg.errors import ConnectionFailedError, IllegalStateError
from unimsg.testing.process import Process
from unimsg.testing.server import PASSWORD, Server

__all__ = ["Service"]


class Service:
    """`unimsg serve` beside a server: a component of it, over a store of its own.

    `store`: sqlite:///FILE (in the server's folder if not said) or memory://. `component`: one of the server's `components`.
    `allow`: who may do everything. `arguments`: more of what `unimsg serve` takes.
    """

    start_timeout = 30.0
    """Seconds until a service that does not say `ready` has failed."""

    def __init__(
        self,
        server: Server,
        store: str | None = None,
        component: str | None = None,
        allow: Sequence[str] = ("*@localhost",),
        arguments: Sequence[str] = (),
    ) -> None:
        """Start nothing yet."""
        self.server = server
        self.component = component or server.components[0]
        self.store = store
        self.allow = tuple(allow)
        self.arguments = tuple(arguments)
        self._process: Process | None = None

    def __repr__(self) -> str:
        return f"<Service {self.jid} {'up' if self.running else 'down'}>"

    @property
    def jid(self) -> str:
        """Return its address."""
        return f"{self.component}.{self.server.domain}"

    @property
    def log(self) -> Path:
        """Return the path of what it said, on both of its streams."""
        return self.server.folder / f"service-{self.component}.log"

    @property
    def running(self) -> bool:
        """Tell whether its process lives."""
        return self._process is not None and self._process.code is None

    @property
    def pid(self) -> int:
        """Return the id of its process. Raises IllegalStateError if none was started."""
        if self._process is None:
            raise IllegalStateError(f"{self!r} is not running")
        return self._process.pid

    def url(self, user: str = "alice", password: str = PASSWORD, **options: object) -> str:
        """Return a URL for an account of the server and this service."""
        beside = {} if self.component == self.server.components[0] else {"service": self.jid}
        return self.server.url(user, password, **(beside | options))

    def start(self) -> Self:
        """Start it and return once it serves. Raises ConnectionFailedError with the end of what it said."""
        if self.running:
            raise IllegalStateError(f"{self!r} is running already")
        store = self.store or f"sqlite:///{self.server.folder / self.component}.db"
        command = [sys.executable, "-m", "unimsg.cli", "serve", "--store", store]
        for pattern in self.allow:
            command += ["--allow", pattern]
        offset = self.log.stat().st_size if self.log.exists() else 0
        # The URL has the secret in it: command lines can be seen by everybody, environments by their owner.
        env = os.environ | {"UNIMSG_URL": self.server.component_url(self.component)}
        self._process = process = Process([*command, *self.arguments], log=self.log, env=env)
        deadline = time.monotonic() + self.start_timeout
        while f"ready {self.jid}" not in (said := self._said(offset)).splitlines():
            if process.code is not None or time.monotonic() > deadline:
                self.kill()
                raise ConnectionFailedError(f"the service {self.jid} did not start:\n" + "\n".join(said.splitlines()[-12:]))
            time.sleep(0.01)
        return self

    def stop(self) -> int:
        """End it gracefully; return its exit code (0: all was in order). Without a process: 0."""
        return self._end(kill=False)

    def kill(self) -> int:
        """End it with SIGKILL; its store stays."""
        return self._end(kill=True)

    def restart(self) -> None:
        """End it gracefully and start it again on the same store."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _said(self, offset: int) -> str:
        with self.log.open("rb") as stream:
            stream.seek(offset)
            return stream.read().decode(errors="replace")

    def _end(self, *, kill: bool) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        return process.kill() if kill else process.stop()
