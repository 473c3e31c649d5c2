"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket

__all__ = ["HOST", "free_ports", "is_free"]

HOST = "127.0.0.1"

_PORTS = range(20_000, 32_000)
"""Below what kernels give to outgoing connections (Linux: from 32768): while a server is down nobody else gets its port by
chance, and a client that knocks there cannot be connected to itself (RFC 9293, 3.5: simultaneous open)."""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now; between now and their use somebody may."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop} on {HOST}")


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
