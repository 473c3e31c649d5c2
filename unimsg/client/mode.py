"""The modes of a session: when what it has received counts as processed (JMS 3.1 §6.2.10)."""

from __future__ import annotations

import enum

__all__ = ["Mode", "mode_of"]


class Mode(enum.Enum):
    """Say who acknowledges, and when."""

    AUTO = "auto"
    """The consumer, as `receive` returns, or when the loop goes on."""
    CLIENT = "client"
    """The application, all that its session has delivered at once."""
    DUPS_OK = "dups_ok"
    """The consumer, lazily: after a crash some come again."""
    INDIVIDUAL = "individual"
    """The application, each message on its own; it may also release and reject."""
    TRANSACTED = "transacted"
    """The commit, together with what the session has sent."""


def mode_of(mode: str | Mode) -> Mode:
    """Return the mode called so. Raises ValueError with those that there are."""
    try:
        return Mode(mode)
    except ValueError:
        raise ValueError(f"mode is one of {', '.join(mode.value for mode in Mode)}, not {mode!r:.40}") from None
