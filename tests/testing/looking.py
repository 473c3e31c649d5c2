"""How these tests look at processes and sockets from outside, and try what was started."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import unimsg

LONG = 30.0
"""Seconds within which what must happen happens, on the slowest machine."""


def until(happened: Callable[[], bool], what: str) -> None:
    """Return as soon as it has happened."""
    deadline = time.monotonic() + LONG
    while not happened():
        assert time.monotonic() < deadline, f"after {LONG} s: not {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def listening(pid: int) -> set[str]:
    """Return the addresses that a process listens on, as the kernel writes them in hexadecimal (TCP and UDP, 4 and 6)."""
    own = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            own.add(target[8:-1])
    found = set()
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state and fields[9] in own:
                found.add(fields[1])
    return found


async def send(connection: unimsg.Connection, destination: unimsg.Queue[Any], body: str) -> None:
    """Send one message."""
    async with connection.producer(destination) as producer:
        await producer.send(body)
