"""`unimsg serve`: give a network that has no queues a service that keeps them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from unimsg.cli.arguments import add_verb, seconds
from unimsg.cli.connecting import url_of
from unimsg.cli.outcome import OK
from unimsg.registry import URL
from unimsg.services import ServiceOptions, service_of

__all__ = ["add"]

MORE = """On XMPP: queues, durable subscriptions and transactions for all clients of a server, kept in a SQLite file. The service is a
component of the server (XEP-0114), which its configuration must name, or, where that is impossible, an ordinary account.

Prosody (then: prosodyctl reload):
  Component "unimsg.example.org"
      component_secret = "SECRET"
ejabberd (under listen:, then: ejabberdctl reload_config):
  - port: 5347
    ip: "127.0.0.1"
    module: ejabberd_service
    hosts:
      "unimsg.example.org":
        password: "SECRET"

Prints `ready ADDRESS` once clients can come, and logs to standard error. Nobody may do anything that no --allow or --acl says:
  --allow '*@example.org'                              all rights, everywhere, for the accounts of a domain
  --allow 'bob@example.org=consume:queue:orders.*'     one right, for one account, on some queues
An --acl file is TOML, read again on SIGHUP:
  [[allow]]
  who = ["alice@example.org", "*@partner.example"]
  may = ["publish", "consume", "manage"]
  on = ["queue:orders.*", "topic:md.>"]"""

EXAMPLES = """  UNIMSG_XMPP_PASSWORD=SECRET unimsg serve 'xmpp://unimsg.example.org?host=127.0.0.1' --allow '*@example.org'
  unimsg serve 'xmpp://queues@example.org?password_file=/etc/unimsg/password' --store sqlite:////var/lib/unimsg/broker.db --acl /etc/unimsg/acl.toml
  unimsg testing up prosody        a server and a service, to try it"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "serve", "serve queues and subscriptions to the clients of an XMPP server", MORE, EXAMPLES, run)
    parser.add_argument("url", nargs="?", default=os.environ.get("UNIMSG_URL"), metavar="URL", help="where to serve (default: the environment's UNIMSG_URL)")
    parser.add_argument(
        "--store", default="sqlite:///unimsg.db", metavar="URL", help="where messages are kept: sqlite:///FILE (default: %(default)s), or memory://"
    )
    parser.add_argument("--allow", action="append", default=[], metavar="WHO[=RIGHTS[:PLACE]]", help="who may do what; may be said several times")
    parser.add_argument("--acl", type=Path, metavar="FILE", help="a TOML file that says who may do what")
    parser.add_argument("--lease", type=seconds, default=30.0, metavar="SECONDS", help="how long a silent client keeps what it holds (default: %(default)g)")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        type=_limit,
        metavar="NAME=NUMBER",
        help="what a client may cost, such as sessions_each=10 (docs/xmpp-service.md)",
    )
    parser.add_argument("--verbose", "-v", action="store_true", help="log sessions as they come and go")


def _limit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name or not value.isascii() or not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=NUMBER, for instance sessions=200")
    return name, int(value)


async def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    if args.verbose:
        logging.getLogger("unimsg").setLevel(logging.INFO)
    url = URL(url_of(args))
    options = ServiceOptions(args.store, args.acl, tuple(args.allow), args.lease, tuple(args.limit))
    serving = asyncio.ensure_future(service_of(url)(url, options, lambda address: print(f"ready {address}", flush=True)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    return OK
