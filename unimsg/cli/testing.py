"""`unimsg testing up`: a real broker on this machine, for as long as you look."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
from pathlib import Path
from typing import Any

from unimsg.cli.arguments import Parser, add_verb
from unimsg.cli.outcome import EXIT_CODES, OK, PROBLEM
from unimsg.cli.screen import note

__all__ = ["add"]

EXAMPLES = """  unimsg testing up prosody                        then, in another terminal, with the URL that it prints:
  unimsg demo --url 'xmpp://alice:…@localhost?…'
  unimsg testing up ejabberd --folder broker       keep accounts and messages for the next time
  unimsg testing up prosody --store memory://      messages in memory only"""

MORE = """Starts the broker's own server and what unimsg needs beside it, all on 127.0.0.1 and free ports, in a temporary folder. Prints one
line, a URL that works, on the standard output; stays until Ctrl-C or SIGTERM, then stops everything and removes the folder. `make
brokers` installs the servers."""

KINDS = {"prosody": "XMPP", "ejabberd": "XMPP"}
"""What can be started; said here too, because `unimsg --help` loads no launcher."""

_LOOK = 0.5
"""Seconds between two looks at whether all still runs."""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "testing", "start a real broker here, to try things with", MORE, EXAMPLES, run)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    up: Parser = actions.add_parser("up", help="start it and stay", description=MORE, epilog=f"examples:\n{EXAMPLES}\n\n{EXIT_CODES}")
    up.add_argument("kind", metavar="KIND", choices=tuple(KINDS), help=", ".join(f"{kind} ({protocol})" for kind, protocol in KINDS.items()))
    up.add_argument("--user", default="alice", metavar="NAME", help="the account that the URL is for (%(default)s)")
    up.add_argument("--password", metavar="PASSWORD", help="its password (default: one made at random)")
    up.add_argument("--store", metavar="URL", help="where the service keeps messages: sqlite:///FILE (default: a file in the folder), or memory://")
    up.add_argument("--folder", type=Path, metavar="DIR", help="keep everything here, for the next time (default: a temporary folder)")


async def run(args: argparse.Namespace) -> int:
    """Stand it up, print the URL, stay, take it down."""
    from unimsg.testing.up import RECIPES, Wish

    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, leave.set)
    recipe = RECIPES[args.kind](Wish(args.user, args.password, lambda: secrets.token_urlsafe(9), args.store, args.folder, note))
    # In a thread, so that a signal is heard meanwhile; a start or a stop is always finished, never left in the middle.
    standing = await asyncio.to_thread(recipe.__enter__)
    try:
        if not leave.is_set():
            print(standing.url, flush=True)
        while not leave.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leave.wait(), _LOOK)
            for part in standing.parts:
                if not part.running:
                    lines = part.log.read_text(errors="replace").splitlines()[-12:]
                    note("\n".join([f"{part!r} ended by itself; the end of its log:", *lines]))
                    return PROBLEM
    finally:
        note("stopping")
        await asyncio.to_thread(recipe.__exit__, None, None, None)
    return OK
