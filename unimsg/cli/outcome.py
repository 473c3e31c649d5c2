"""How the command ends: exit codes, and the exception that carries one with a sentence."""

from __future__ import annotations

import re

__all__ = ["INTERRUPTED", "NO_CONNECTION", "OK", "PROBLEM", "USAGE", "Stop", "redact"]

OK = 0
PROBLEM = 1
"""A problem was found, something failed on the way, or nothing came in time."""
USAGE = 2
"""The command line, the URL or the input makes no sense."""
NO_CONNECTION = 3
"""The broker cannot be reached, refuses us, or its file cannot be opened."""
INTERRUPTED = 130
"""Ctrl-C, as shells count it (128 + SIGINT)."""

EXIT_CODES = """exit codes:
  0 done   1 a problem was found, or nothing came in time   2 the command line or the input makes no sense
  3 no connection to the broker   130 Ctrl-C"""

_CREDENTIALS = re.compile(r"://\S*@")


class Stop(Exception):  # noqa: N818  (an end, with its code; not always an error)
    """End the command with a code and a sentence for the error stream."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def redact(text: str) -> str:
    """Return a text without the user and the password of any URL in it."""
    return _CREDENTIALS.sub("://…@", text)
