"""URLs with more options."""

from __future__ import annotations


def also(url: str, options: str) -> str:
    """Return a URL with more options."""
    return f"{url}{'&' if '?' in url else '?'}{options}"
