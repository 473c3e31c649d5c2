"""`unimsg doctor`: from the first thing that must work to the last, and what mends it."""

from __future__ import annotations

import argparse
import os
import uuid
from typing import Any

from unimsg.cli.arguments import add_output, add_verb
from unimsg.cli.connecting import url_of
from unimsg.cli.outcome import OK, PROBLEM
from unimsg.cli.screen import Screen
from unimsg.driver import Identity
from unimsg.registry import make_driver

__all__ = ["add"]

MORE = """The backend of the URL looks for itself: the address, the rights, the version, the state of what it stores. Each finding
is ok, warn or fail, with a remedy where there is one. Code 1: something failed."""

EXAMPLES = """  unimsg doctor sqlite:///orders.db
  UNIMSG_URL=sqlite:///orders.db unimsg doctor --json | jq 'select(.level != "ok")'"""

MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "doctor", "look whether a broker is all right", MORE, EXAMPLES, run)
    parser.add_argument("url", nargs="?", default=os.environ.get("UNIMSG_URL"), metavar="URL", help="the broker (default: the environment's UNIMSG_URL)")
    add_output(parser)


async def run(args: argparse.Namespace) -> int:
    """Print the findings."""
    screen = Screen(args)
    driver = make_driver(url_of(args), Identity(uuid.uuid4().hex))
    worst = OK
    async for finding in driver.diagnose():
        if finding.level == "fail":
            worst = PROBLEM
        if screen.lines:
            screen.record(finding._asdict())
            continue
        screen.text(MARKS.get(finding.level, finding.level), "  ", (finding.subject, "bold"), f": {finding.text}")
        if finding.remedy:
            screen.text("      ", (finding.remedy, "italic"))
    return worst
