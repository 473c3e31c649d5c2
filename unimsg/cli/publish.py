"""`unimsg publish`: send the bodies of the command line, or those of the standard input."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import unimsg
from unimsg.cli.arguments import add_connection, add_headers, add_output, add_verb, destination, headers_of
from unimsg.cli.connecting import connected
from unimsg.cli.feed import add_input, bodies
from unimsg.cli.outcome import OK, PROBLEM, USAGE, Stop
from unimsg.cli.screen import Screen, note

__all__ = ["add"]

MORE = """Bodies come from the command line, or, without any, from the standard input: one message a line, or one of it all
with --whole. Each message that the broker has confirmed is a line of output with its id; the command ends when all are."""

EXAMPLES = """  unimsg publish queue:orders 'two lots of VOD.L' 'three lots of IBM'
  unimsg publish queue:orders --format json '{"symbol": "VOD.L", "lots": 2}' -p venue=LSE --type order --priority 9
  tail -f app.log | unimsg publish topic:logs.app
  unimsg publish queue:files --whole --format bytes < picture.png
  unimsg publish queue:reminders 'call them' --delay 3600 --ttl 86400
  unimsg publish topic:md.US.IBM -p price:decimal=182.31 -p lot:int=300 ''"""

IN_FLIGHT = 1000
"""Confirmations that are waited for at most, so that a long input needs little memory and ids come in order."""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "publish", "send messages to a queue or a topic", MORE, EXAMPLES, run)
    parser.add_argument("destination", type=destination, metavar="DEST", help="queue:NAME or topic:NAME")
    parser.add_argument("body", nargs="*", metavar="BODY", help="a message each; without any, the standard input")
    parser.add_argument("--message-id", metavar="ID", help="your own id, ID:…, for sending one message again after an unknown outcome")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no ids")
    add_input(parser)
    add_headers(parser)
    add_output(parser)
    add_connection(parser)


async def run(args: argparse.Namespace) -> int:
    """Send, and print the ids of what was confirmed."""
    options = headers_of(args)
    if args.message_id is not None:
        if len(args.body) != 1 and not args.whole:
            raise Stop(USAGE, "--message-id is for one message: give one BODY, or --whole")
        options["message_id"] = args.message_id
    if not args.body and sys.stdin.isatty():
        note("one message a line; Ctrl-D ends" if not args.whole else "Ctrl-D ends the message")
    screen = Screen(args)
    waiting: asyncio.Queue[unimsg.Receipt[Any] | None] = asyncio.Queue(IN_FLIGHT)
    async with connected(args) as connection, connection.producer(args.destination, **options) as producer:
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(_tell(screen, waiting, args.quiet))
                try:
                    async for body in bodies(args):
                        await waiting.put(await producer.submit(body))
                finally:
                    # Whatever stopped the input, what was handed over is seen through; the group would only cancel it.
                    await waiting.put(None)
                    await asyncio.wait((telling,))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        confirmed, failures = telling.result()
        if not screen.lines and not args.quiet:
            screen.text((f"{confirmed} confirmed", "green"), f" by {connection.health().url}")
    return PROBLEM if failures else OK


async def _tell(screen: Screen, waiting: asyncio.Queue[unimsg.Receipt[Any] | None], quiet: bool) -> tuple[int, int]:
    """Print each message as it is confirmed, in order; return how many were, and how many failed."""
    confirmed = failed = 0
    while (receipt := await waiting.get()) is not None:
        try:
            message = await receipt
        except unimsg.UnimsgError as error:
            failed += 1
            note(f"{receipt.message_id} was not sent: {error}")
            continue
        confirmed += 1
        if not quiet:
            _print(screen, message)
    return confirmed, failed


def _print(screen: Screen, message: unimsg.Message[Any]) -> None:
    if screen.lines:
        screen.record({"id": message.message_id, "destination": str(message.destination)})
    else:
        screen.text((message.message_id or "", "dim"), "  ", (str(message.destination), "cyan"))
