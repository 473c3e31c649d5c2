"""Connecting for a verb: the URL from the command line or the environment, and failures told apart from later ones."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import unimsg
from unimsg.cli.outcome import NO_CONNECTION, USAGE, Stop
from unimsg.errors import BackendNotFoundError, BackendNotInstalledError, InvalidURLError

__all__ = ["connected", "url_of"]


def url_of(args: argparse.Namespace) -> str:
    """Return the URL that was said, or that the environment says. Raises Stop."""
    if not args.url:
        raise Stop(USAGE, "which broker? Say --url sqlite:///orders.db, or set UNIMSG_URL (`unimsg backends` shows the kinds)")
    return str(args.url)


@asynccontextmanager
async def connected(args: argparse.Namespace) -> AsyncIterator[unimsg.Connection]:
    """Yield a connection; what goes wrong before there is one ends the command with code 3 (a bad URL: 2)."""
    url = url_of(args)
    try:
        connection = await unimsg.connect(url, client_id=args.client_id)
    except (InvalidURLError, BackendNotFoundError, BackendNotInstalledError):
        raise
    except unimsg.UnimsgError as error:
        raise Stop(NO_CONNECTION, str(error)) from error
    async with connection:
        yield connection
