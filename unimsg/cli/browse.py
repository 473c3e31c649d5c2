"""`unimsg browse`: look at a queue, and take nothing."""

from __future__ import annotations

import argparse
from typing import Any

from unimsg.cli.arguments import add_connection, add_output, add_verb, count, destination
from unimsg.cli.connecting import connected
from unimsg.cli.listen import show
from unimsg.cli.outcome import OK
from unimsg.cli.screen import Screen

__all__ = ["add"]

MORE = """It shows what a consumer would get now, in that order. Messages that somebody has in hand, that are delayed or that
have expired are not among them. An empty queue is no problem: code 0."""

EXAMPLES = """  unimsg browse queue:orders
  unimsg browse queue:orders --selector "lots > 100" --count 5
  unimsg browse queue:dead.orders --json | jq -r .properties
  unimsg browse queue:orders --stanza"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "browse", "look at what a queue holds, taking nothing", MORE, EXAMPLES, run)
    parser.add_argument("source", type=destination, metavar="DEST", help="queue:NAME")
    parser.add_argument("-s", "--selector", help="a JMS selector: only the messages that it is true of")
    parser.add_argument("-n", "--count", type=count, metavar="N", help="end after N messages")
    parser.add_argument("--stanza", action="store_true", help="print the stanzas as they travelled")
    add_output(parser)
    add_connection(parser)


async def run(args: argparse.Namespace) -> int:
    """Print until the queue's end."""
    screen = Screen(args)
    shown = 0
    async with connected(args) as connection:
        async for message in connection.browse(args.source, selector=args.selector):
            show(screen, message, args.stanza)
            shown += 1
            if shown == args.count:
                break
        if not screen.lines and not args.stanza:
            screen.text((f"{shown} shown" if shown else f"{args.source} holds nothing that could be delivered now", "dim"))
    return OK
