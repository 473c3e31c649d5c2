"""`unimsg list`, `purge` and `delete`: the destinations and subscriptions of a broker."""

from __future__ import annotations

import argparse
import time
from typing import Any

from unimsg.cli.arguments import add_connection, add_output, add_verb, destination
from unimsg.cli.connecting import connected
from unimsg.cli.outcome import OK, USAGE, Stop
from unimsg.cli.screen import Screen
from unimsg.driver import DestinationInfo

__all__ = ["add"]

COLUMNS = ("destination", "subscription", "depth", "in flight", "consumers", "oldest")


def add(verbs: Any) -> None:
    """Add the verbs."""
    parser = add_verb(
        verbs,
        "list",
        "show queues, topics and subscriptions",
        "The depth is what waits; in flight is what consumers have in hand. A dash is what the broker does not tell.",
        "  unimsg list\n  unimsg list --json | jq 'select(.depth > 1000)'",
        run_list,
    )
    add_output(parser)
    add_connection(parser)

    parser = add_verb(
        verbs,
        "purge",
        "empty a queue or a subscription",
        "What consumers have in hand stays with them. What is purged is gone: look at it first with `unimsg browse`.",
        "  unimsg purge queue:orders\n  unimsg purge topic:news --subscription ledger --client-id bank-1",
        run_purge,
    )
    parser.add_argument("destination", type=destination, metavar="DEST", help="queue:NAME, or the topic of a subscription")
    parser.add_argument("--subscription", metavar="NAME", help="the subscription to empty")
    add_output(parser)
    add_connection(parser)

    parser = add_verb(
        verbs,
        "delete",
        "remove a destination, or a durable subscription, and what it holds",
        "A subscription that somebody listens to is not removed.",
        "  unimsg delete queue:orders\n  unimsg delete --subscription ledger --client-id bank-1",
        run_delete,
    )
    parser.add_argument("destination", type=destination, nargs="?", metavar="DEST", help="queue:NAME or topic:NAME")
    parser.add_argument("--subscription", metavar="NAME", help="the durable subscription to remove, of --client-id or a shared one")
    add_output(parser)
    add_connection(parser)


async def run_list(args: argparse.Namespace) -> int:
    """Print what there is."""
    screen = Screen(args)
    async with connected(args) as connection:
        found = sorted(await connection.inspect(), key=lambda info: (str(info.destination), info.subscription or ""))
    if screen.lines:
        for info in found:
            screen.record(record_of(info))
    elif found:
        screen.table(COLUMNS, [_row(info) for info in found], numbers=COLUMNS[2:])
    else:
        screen.text(("nothing there yet", "dim"))
    return OK


def record_of(info: DestinationInfo) -> dict[str, Any]:
    """Return a line of the list; what is unknown is null."""
    return {
        "destination": str(info.destination),
        "subscription": info.subscription,
        "depth": info.depth,
        "in_flight": info.in_flight,
        "consumers": info.consumers,
        "oldest": info.oldest,
    }


def _row(info: DestinationInfo) -> list[str]:
    age = "-" if info.oldest is None else f"{max(0.0, time.time() - info.oldest):.1f} s"
    numbers = ("-" if number is None else str(number) for number in (info.depth, info.in_flight, info.consumers))
    return [str(info.destination), info.subscription or "", *numbers, age]


async def run_purge(args: argparse.Namespace) -> int:
    """Empty it and say how many messages went."""
    screen = Screen(args)
    async with connected(args) as connection:
        purged = await connection.purge(args.destination, args.subscription)
    if screen.lines:
        screen.record({"destination": str(args.destination), "subscription": args.subscription, "purged": purged})
    else:
        screen.text((f"{purged} message{'' if purged == 1 else 's'}", "bold"), f" purged from {args.subscription or args.destination}")
    return OK


async def run_delete(args: argparse.Namespace) -> int:
    """Remove it."""
    if (args.destination is None) == (args.subscription is None):
        raise Stop(USAGE, "delete what? Say a DEST, or --subscription NAME")
    screen = Screen(args)
    async with connected(args) as connection:
        if args.subscription is not None:
            await connection.unsubscribe(args.subscription)
        else:
            await connection.delete(args.destination)
    if screen.lines:
        screen.record({"deleted": args.subscription or str(args.destination)})
    else:
        screen.text(f"{args.subscription or args.destination} is deleted")
    return OK
