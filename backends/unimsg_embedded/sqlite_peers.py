"""The processes that share a file: who is alive, and how to wake them. One named pipe each, `FILE-peer-ID`.

Its process has the pipe open for reading, so that the kernel itself says who is dead: opening the pipe of a process that is
gone, for writing, fails with ENXIO. To wake a process, write the numbers of the mailboxes in which something
changed into its pipe; a full pipe means that it will look at everything anyhow. Pipes need neither a network nor process
ids: containers that share the folder share them too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import uuid
from collections.abc import Collection
from pathlib import Path

__all__ = ["Peers"]

_NUMBER = struct.Struct("<q")
_ATOM = 4096
"""Bytes that a pipe takes whole or not at all (PIPE_BUF is 4096 on Linux; 512 elsewhere)."""
_DRAIN = 1 << 20


class Peers:
    """Our own pipe, and the writing ends of others' pipes."""

    def __init__(self, path: Path) -> None:
        """Take the path of the file that is shared."""
        self._path = path
        self.id = uuid.uuid4().hex[:16]
        self.reader = -1
        self._writers: dict[str, int] = {}

    def _pipe(self, peer: str) -> Path:
        return self._path.with_name(f"{self._path.name}-peer-{peer}")

    def open(self) -> None:
        """Make our pipe. Without pipes (Windows, some file systems) `reader` stays -1: others look every now and then."""
        if not hasattr(os, "mkfifo"):
            return
        pipe = self._pipe(self.id)
        try:
            os.mkfifo(pipe, 0o600)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                return
            raise
        with contextlib.suppress(OSError):
            pipe.chmod(stat.S_IMODE(self._path.stat().st_mode))
        self.reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # A writing end of our own: without any, the reading end would report its end, over and over.
        self._writers[self.id] = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def drain(self) -> set[int] | None:
        """Return the mailboxes that others have written to us; None means all."""
        found = b""
        while True:
            try:
                part = os.read(self.reader, _DRAIN)
            except BlockingIOError:
                break
            if not part:
                break
            found += part
        # A pipe that was ever full may have refused somebody.
        return None if len(found) >= 32 * 1024 or len(found) % _NUMBER.size else {number for (number,) in _NUMBER.iter_unpack(found)}

    def _writer(self, peer: str) -> int | None:
        """Return the writing end of a peer's pipe; None if it is gone."""
        file = self._writers.get(peer)
        if file is None:
            try:
                file = os.open(self._pipe(peer), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.ENXIO, errno.ENOENT):
                    return None
                raise
            self._writers[peer] = file
        return file

    def wake(self, peers: Collection[str], mailboxes: Collection[int]) -> None:
        """Tell peers in which mailboxes something changed; those that are gone are passed over."""
        text = b"".join(map(_NUMBER.pack, mailboxes))
        if len(text) > _ATOM:
            text = text[:1]  # no whole number: look everywhere
        for peer in peers:
            if peer == self.id:
                continue
            try:
                file = self._writer(peer)
                if file is not None:
                    os.write(file, text)
            except BlockingIOError:
                continue  # full: it will look
            except OSError:
                self.forget(peer)  # gone, or not ours to write to: it looks by itself now and then

    def alive(self, peer: str) -> bool | None:
        """Tell whether a process is there; None if it cannot be told (no pipes here, no right to open this one)."""
        if peer == self.id:
            return True
        return None if self.reader < 0 else self.probe(peer)

    def probe(self, peer: str) -> bool | None:
        """Tell the same of another process, also without a pipe of our own."""
        self.forget(peer)  # a writing end that is open proves nothing: only opening it asks the kernel
        try:
            return self._writer(peer) is not None
        except OSError:
            return None

    def forget(self, peer: str) -> None:
        """Close the writing end of a peer's pipe."""
        file = self._writers.pop(peer, None)
        if file is not None:
            os.close(file)

    def bury(self, peer: str) -> None:
        """Remove the pipe of a process that is gone."""
        self.forget(peer)
        with contextlib.suppress(OSError):
            self._pipe(peer).unlink()

    def strays(self) -> list[str]:
        """Return the pipes beside the file, by their peers' ids, our own apart."""
        start = f"{self._path.name}-peer-"
        try:
            names = os.listdir(self._path.parent)  # noqa: PTH208  - names are all we need
        except OSError:
            return []
        return [name.removeprefix(start) for name in names if name.startswith(start) and not name.endswith(self.id)]

    def shut(self) -> None:
        """Close all files, removing nothing (in a forked child)."""
        for peer in list(self._writers):
            self.forget(peer)
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def close(self) -> None:
        """Close everything and remove our pipe."""
        self.shut()
        with contextlib.suppress(OSError):
            self._pipe(self.id).unlink()
