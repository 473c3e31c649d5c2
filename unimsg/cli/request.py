"""`unimsg request`: ask, and print the answer."""

from __future__ import annotations

import argparse
from typing import Any

from unimsg.cli.arguments import add_connection, add_headers, add_output, add_verb, destination, headers_of, seconds
from unimsg.cli.connecting import connected
from unimsg.cli.feed import add_input, bodies
from unimsg.cli.listen import show
from unimsg.cli.outcome import OK, USAGE, Stop
from unimsg.cli.screen import Screen

__all__ = ["add"]

MORE = """The answer comes to a temporary queue of this command and is matched by correlation id. Code 1: none came in time."""

EXAMPLES = """  unimsg request queue:squares --format json '{"number": 12}' --timeout 5
  unimsg request queue:prices 'VOD.L' -p venue=LSE --text
  unimsg request queue:convert --whole --format bytes < picture.png | jq -r .body | base64 -d > picture.webp"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "request", "send a request and print the answer", MORE, EXAMPLES, run)
    parser.add_argument("destination", type=destination, metavar="DEST", help="queue:NAME or topic:NAME")
    parser.add_argument("body", nargs="*", metavar="BODY", help="the request; without it, the standard input as a whole")
    parser.add_argument("-t", "--timeout", type=seconds, default=30.0, metavar="SECONDS", help="how long to wait for the answer (30)")
    parser.add_argument("--stanza", action="store_true", help="print the answer's stanza as it travelled")
    add_input(parser)
    add_headers(parser)
    add_output(parser)
    add_connection(parser)


async def run(args: argparse.Namespace) -> int:
    """Ask once."""
    if len(args.body) > 1:
        raise Stop(USAGE, "a request has one body (quote it if it has spaces)")
    if args.reply_to is not None:
        raise Stop(USAGE, "a request brings its own --reply-to; to have the answer sent elsewhere: unimsg publish --reply-to")
    args.whole = True
    screen = Screen(args)
    async with connected(args) as connection:
        async for body in bodies(args):
            answer = await connection.request(args.destination, body, timeout=args.timeout, **headers_of(args))
            show(screen, answer, args.stanza)
    return OK
