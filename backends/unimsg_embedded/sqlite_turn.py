"""Whose turn it is to write: a kernel lock on a side file, waited for without polling and let go by the kernel at death.

SQLite lets one process write at a time, and lets the others ask again and again; here they stand in a queue. The lock file
is `FILE-lock`. The SQLite file itself must not be opened for this: closing it would drop SQLite's own locks.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks here (Windows): SQLite's own busy wait is all there is
    fcntl = None  # type: ignore[assignment]

__all__ = ["Turn"]


class Turn:
    """The right to write to one file, one holder at a time; the kernel serves those who wait."""

    def __init__(self, path: Path) -> None:
        """Take the path of the file that is written to."""
        self._path = path.with_name(path.name + "-lock")
        self._model = path
        self._file = -1

    def _open(self) -> int:
        if self._file < 0:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with contextlib.suppress(OSError):  # who may write to the file may take turns
                os.fchmod(self._file, stat.S_IMODE(self._model.stat().st_mode))
        return self._file

    def try_now(self) -> bool:
        """Take the turn if it is free; never waits. False also where there are no such locks. Raises OSError."""
        return fcntl is not None and self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self) -> None:
        """Wait for the turn, and take it; for a worker thread. Raises OSError."""
        if fcntl is not None:
            self._lock(fcntl.LOCK_EX)

    def _lock(self, how: int) -> bool:
        while True:
            file = self._open()
            try:
                fcntl.flock(file, how)
            except BlockingIOError:
                return False
            if os.fstat(file).st_nlink:
                return True
            self.close()  # somebody has cleaned up: there is a new lock file, or there will be

    def release(self) -> None:
        """Let the next one write."""
        if fcntl is not None and self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def remove(self) -> None:
        """Remove the lock file; its holder may, when nobody else uses the file. Those who wait for it open a new one."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        """Close the lock file, which releases it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
