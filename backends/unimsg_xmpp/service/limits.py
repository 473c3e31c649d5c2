"""What a client may cost."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Limits"]


class Limits(NamedTuple):
    """Each can be said on the command line: `--limit sessions=200`. All but the first are for each client."""

    sessions: int = 1000
    sessions_each: int = 100
    """Sessions of one account (bare JID)."""
    consumers: int = 10_000
    """Consumers of one session."""
    requests: int = 256
    """Requests of one session without an answer."""
    submitted_bytes: int = 64 * 2**20
    """Bytes of stanzas, unpacked, that one session has submitted and the broker not yet taken."""
    commit_bytes: int = 16 * 2**20
    """Bytes of stanzas in the unfinished transactions of one session."""
    browses: int = 16
    """Browses of one session."""
