"""One child process that goes when we go: started under a guard, ended through it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["Process"]

GUARD = Path(__file__).with_name("guard.py")


class Process:
    """A running program. Nothing else signals it: its id cannot be somebody else's by then (the guard reaps it)."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        patience: float = 10.0,
        remove: Path | None = None,
    ) -> None:
        """Start it; output goes to `log`. If we die, it is ended and the folder `remove` removed. `patience`: seconds from SIGTERM to SIGKILL."""
        with log.open("ab") as stream:
            self._guard = subprocess.Popen(  # noqa: S603  (our own script)
                [sys.executable, "-I", "-S", str(GUARD), str(remove or ""), str(patience), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=env,
                cwd=cwd,
                start_new_session=True,  # Ctrl-C in the terminal is ours to answer
            )
        line = _there(self._guard.stdout).readline()
        if not line:
            self.wait()
            raise FileNotFoundError(f"{command[0]} did not start: {log.read_text(errors='replace').strip().splitlines()[-1:]}")
        self.pid = int(line)

    @property
    def code(self) -> int | None:
        """Return the exit code, None while it runs, 128 + N after signal N."""
        return self._guard.poll()

    def stop(self) -> int:
        """End it by SIGTERM, by SIGKILL if it does not listen; return its exit code."""
        return self._say(b"t")

    def kill(self) -> int:
        """End it by SIGKILL."""
        return self._say(b"k")

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended by itself. Raises TimeoutError after `timeout` seconds."""
        try:
            code = self._guard.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s") from None
        for pipe in (self._guard.stdin, self._guard.stdout):
            with contextlib.suppress(BrokenPipeError):
                _there(pipe).close()
        return code

    def _say(self, word: bytes) -> int:
        pipe = _there(self._guard.stdin)
        with contextlib.suppress(BrokenPipeError, ValueError):  # it ended before, or we said so before
            pipe.write(word)
            pipe.flush()
        return self.wait()


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101  (both were asked for)
    return pipe
