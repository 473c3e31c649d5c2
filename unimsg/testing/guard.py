"""Run one server and never outlive the program that asked for it: a script of its own, `python -I guard.py FOLDER SECONDS COMMAND…`.

The program holds the other end of our standard input and never writes to it but to say `t` (end the server) or `k` (kill it).
When that end closes, for whatever reason, the program is gone (the kernel closes it, kill -9 included): the server is ended,
and FOLDER removed if one is named. A pipe rather than prctl(PR_SET_PDEATHSIG): that fires when the *thread* dies that started
the server, is lost by set-uid programs, exists on Linux alone, and removes no folder.

On the standard output: a line with the server's process id. The exit code is the server's (128 + N for a signal).
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time


def main(folder: str, patience: float, command: list[str]) -> int:
    """Run the command until it ends or the program lets go; SIGTERM first, SIGKILL after `patience` seconds."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever means us means the program; the pipe tells
    ended, ring = os.pipe()
    for end in (ended, ring):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    # The log is our error stream, and what the server says on its output belongs there too. A session of its own is a
    # process group of its own: what the server has started goes with it.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, preexec_fn=_listen)  # noqa: S603
    os.write(1, b"%d\n" % server.pid)
    deadline: float | None = None
    watched = [0, ended]
    left = False
    while server.poll() is None:
        if deadline is not None and time.monotonic() >= deadline:
            _signal(server, signal.SIGKILL)
            deadline = None
        readable, _, _ = select.select(watched, [], [], None if deadline is None else max(0.0, deadline - time.monotonic()))
        if ended in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(ended, 1024)
        if 0 in readable:
            word = os.read(0, 1)
            if not word:
                watched.remove(0)
                left = True
            if word == b"k":
                _signal(server, signal.SIGKILL)
            elif deadline is None:
                _signal(server, signal.SIGTERM)
                deadline = time.monotonic() + patience
    _sweep(server)
    if folder and (left or _program_is_gone()):
        shutil.rmtree(folder, ignore_errors=True)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _listen() -> None:
    """Undo for the server what we ignore."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _signal(server: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        server.send_signal(number)


def _sweep(server: subprocess.Popen[bytes]) -> None:
    """Kill what the server left behind in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)


def _program_is_gone() -> bool:
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable) and os.read(0, 1) == b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
