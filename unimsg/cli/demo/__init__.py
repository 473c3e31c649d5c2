"""`unimsg demo`: real quotes and trades from one process to three, one of which is killed and misses nothing."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from unimsg.cli.arguments import add_output, add_verb, count, seconds
from unimsg.cli.outcome import OK, PROBLEM
from unimsg.cli.screen import Screen
from unimsg.registry import URL

__all__ = ["add"]

MORE = """Ten minutes of a trading morning (IBM, BAC, SPY; 25,732 quotes and trades) are published as typed fields with exact
prices. Three processes listen with different patterns and a selector; one of them, with a durable subscription, is killed
with -9 in the middle and started again. At the end every count and every field is held against the file. Code 1: something
was not equal. Without --url it runs on a SQLite file in a temporary folder (UNIMSG_URL is not used: a demo should go only
where it was sent)."""

EXAMPLES = """  unimsg demo
  unimsg demo --rate 0                     as fast as it goes
  unimsg demo --url sqlite:///demo.db --messages 5000
  unimsg demo --json | jq .subscribers"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "demo", "replay real quotes and trades, and prove that nothing is lost", MORE, EXAMPLES, run)
    parser.add_argument("-u", "--url", help="the broker (default: a SQLite file in a temporary folder)")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=seconds, metavar="N", help="messages a second; 0 is as fast as it goes")
    pace.add_argument("--seconds", type=seconds, default=12.0, metavar="S", help="spread them over so long (12)")
    parser.add_argument("--messages", type=count, metavar="N", help="only the first N rows of the file")
    add_output(parser)


async def run(args: argparse.Namespace) -> int:
    """Play, watch, and give an account."""
    from unimsg.cli.demo.play import Play
    from unimsg.cli.demo.view import account, record_of, watching

    if args.output is None:
        args.output = "text"  # piped or not, the demo is for people unless --json says otherwise
    screen = Screen(args)
    with ExitStack() as cleaning:
        url = args.url
        if url is None:
            url = f"sqlite:///{Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix='unimsg-demo-'))) / 'demo.db'}"
        play = Play(url, args.rate if args.seconds else 0.0, args.seconds, args.messages)
        async with watching(play, screen):
            faults = await play.run()
    if screen.lines:
        screen.record(record_of(play, faults))
    else:
        account(play, screen, faults, str(URL(url)) if args.url else "a SQLite file in a temporary folder")
    return PROBLEM if faults else OK
