"""The command as a whole: its verbs, and how whatever happens becomes an exit code and a sentence."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from unimsg.cli import backends, browse, demo, doctor, listen, places, publish, request, serve, testing
from unimsg.cli.arguments import Parser
from unimsg.cli.outcome import EXIT_CODES, INTERRUPTED, NO_CONNECTION, OK, PROBLEM, USAGE, Stop, redact
from unimsg.errors import (
    BackendNotFoundError,
    BackendNotInstalledError,
    ConnectionFailedError,
    InvalidDestinationError,
    InvalidSelectorError,
    InvalidURLError,
    MessageFormatError,
    SecurityError,
    UnimsgError,
)

__all__ = ["main", "parser"]

DESCRIPTION = """Send, receive and look at messages on any broker that unimsg speaks to.

A broker is a URL: say --url, or set UNIMSG_URL once. A destination is queue:NAME or topic:NAME; listening to a topic,
* stands for one level of the name and a last > for all the rest."""

EXAMPLES = """examples:
  export UNIMSG_URL=sqlite:///orders.db
  unimsg publish queue:orders 'two lots of VOD.L'      send a message
  unimsg listen queue:orders                           receive, and acknowledge what was printed
  unimsg listen 'topic:md.>' -s "price > 100"          listen to topics, with a selector
  unimsg list                                          what there is, how deep, who listens
  unimsg doctor                                        is everything all right?
  unimsg demo                                          watch real quotes and trades flow

On a terminal the output is for people; in a pipe it is JSON lines (--json and --text choose).
`unimsg VERB --help` shows more of each."""


def parser() -> Parser:
    """Build the parser of the whole command."""
    from importlib.metadata import version

    top = Parser(prog="unimsg", description=DESCRIPTION, epilog=f"{EXAMPLES}\n\n{EXIT_CODES}")
    top.add_argument("--version", action="version", version=f"unimsg {version('unimsg')}")
    verbs = top.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    for module in (publish, listen, request, browse, places, doctor, serve, testing, backends, demo):
        module.add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    try:
        code = _run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`): that is a good end, and Python must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _run(args: argparse.Namespace) -> int:
    try:
        return int(asyncio.run(args.run(args)) or OK)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Stop as stop:
        return _end(stop.code, str(stop))
    except (InvalidURLError, InvalidSelectorError, InvalidDestinationError, MessageFormatError, BackendNotFoundError, BackendNotInstalledError) as error:
        return _end(USAGE, str(error))
    except (ConnectionFailedError, SecurityError) as error:
        return _end(NO_CONNECTION, str(error))
    except (UnimsgError, TimeoutError) as error:
        return _end(PROBLEM, str(error))
    except ExceptionGroup as group:
        return _end(PROBLEM, "; ".join(str(error) for error in group.exceptions[:3]))


def _end(code: int, text: str) -> int:
    print(redact(f"unimsg: {text}"), file=sys.stderr)
    return code
