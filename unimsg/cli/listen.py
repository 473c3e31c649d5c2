"""`unimsg listen`: receive, print, and acknowledge what was printed."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import unimsg
from unimsg import wire
from unimsg.cli.arguments import add_connection, add_output, add_verb, count, destination, seconds
from unimsg.cli.connecting import connected
from unimsg.cli.outcome import OK, PROBLEM, USAGE, Stop
from unimsg.cli.rendering import record_of, text_of
from unimsg.cli.screen import Screen, note

__all__ = ["add"]

MORE = """A message is acknowledged once it is printed; one that could not be printed (the reader of the pipe is gone) is given
back. With --mode client all are acknowledged together at the end, and Ctrl-C gives all of them back. Without --count and
--timeout it listens until Ctrl-C. Code 1: nothing came in time, or fewer than --count."""

EXAMPLES = """  unimsg listen queue:orders
  unimsg listen 'topic:md.>' --selector "symbol = 'IBM' AND price BETWEEN 180 AND 190"
  unimsg listen queue:orders --count 10 --timeout 5 | jq .body
  unimsg listen topic:news --subscription ledger --durable --client-id bank-1
  unimsg listen topic:jobs --subscription workers --shared
  unimsg listen queue:orders --count 1 --stanza | xmllint --format -"""

AHEAD = 100
"""Messages that are read ahead, at most."""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "listen", "receive messages from a queue or topics", MORE, EXAMPLES, run)
    parser.add_argument("source", type=destination, metavar="DEST", help="queue:NAME, topic:NAME or a pattern such as 'topic:md.*.IBM' or 'topic:md.>'")
    parser.add_argument("-n", "--count", type=count, metavar="N", help="end after N messages")
    parser.add_argument("-t", "--timeout", type=seconds, metavar="SECONDS", help="end when nothing has come for so long")
    parser.add_argument("-s", "--selector", help="a JMS selector: only the messages that it is true of")
    parser.add_argument(
        "--mode",
        choices=("auto", "client", "dups_ok", "individual"),
        default="auto",
        help="when they are acknowledged: auto (when printed), dups_ok (lazily), client (all at the end), individual (one by one)",
    )
    parser.add_argument("--subscription", metavar="NAME", help="the name of a durable or shared subscription")
    parser.add_argument("--durable", action="store_true", help="it collects while nobody listens")
    parser.add_argument("--shared", action="store_true", help="several listeners share it")
    parser.add_argument(
        "--overflow",
        choices=("block", "drop", "fail"),
        default="block",
        help="what a live subscription does that is too far behind: let publishers wait, drop the oldest, or end",
    )
    parser.add_argument("--stanza", action="store_true", help="print the stanza as it travelled")
    add_output(parser)
    add_connection(parser)


async def run(args: argparse.Namespace) -> int:
    """Receive until there is an end to it."""
    screen = Screen(args)
    said = {name: getattr(args, name) for name in ("selector", "mode", "subscription", "durable", "shared", "overflow")}
    prefetch = min(args.count or AHEAD, AHEAD)  # who wants one message should not take others out of reach for a while
    received = 0
    last: unimsg.ReceivedMessage[Any] | None = None
    async with connected(args) as connection:
        try:
            consumer = await connection.consumer(args.source, prefetch=prefetch, **said)
        except (ValueError, unimsg.IllegalStateError) as error:  # --durable without --client-id, and the like
            raise Stop(USAGE, str(error)) from error
        async with consumer:
            if screen.terminal and not screen.lines:
                note(f"listening to {args.source}; Ctrl-C ends")
            while args.count is None or received < args.count:
                try:
                    async with asyncio.timeout(args.timeout):
                        message = await anext(consumer, None)
                except TimeoutError:
                    break
                if message is None:
                    break
                received, last = received + 1, message
                show(screen, message, args.stanza)
                if args.mode == "individual":
                    await message.acknowledge()
            if last is not None and args.mode == "client":
                await last.acknowledge()
            if consumer.dropped:
                note(f"{consumer.dropped} messages were dropped: this listener was too slow for them")
    wanted = args.count or (0 if args.timeout is None else 1)
    return OK if received >= wanted else PROBLEM


def show(screen: Screen, message: unimsg.Message[Any], stanza: bool = False) -> None:
    """Print a message: its stanza, a JSON line, or lines for people."""
    if stanza:
        screen.raw(wire.encode(message))
    elif screen.lines:
        screen.record(record_of(message))
    else:
        for line in text_of(message):
            screen.text(*line)
