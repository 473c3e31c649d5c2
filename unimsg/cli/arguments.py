"""What several verbs share: the kinds of arguments, read with an error that says what to write instead."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unimsg.cli.outcome import EXIT_CODES, USAGE, redact
from unimsg.errors import UnimsgError

if TYPE_CHECKING:
    from unimsg.destination import Destination

__all__ = ["Parser", "add_connection", "add_headers", "add_output", "add_verb", "count", "destination", "headers_of", "seconds", "typed_property"]


_OPTION = re.compile(r"-(?![0-9.]+$).")
"""What looks like an option, and is not a number."""


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and never repeats a password."""

    def __init__(self, **options: Any) -> None:
        """Take what ArgumentParser takes."""
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; bodies may stand anywhere among the options, where argparse alone takes them in one place."""
        parsed, rest = self.parse_known_args(args, namespace)
        bodies = getattr(parsed, "body", None)
        unknown = [word for word in rest[: rest.index("--") if "--" in rest else None] if _OPTION.match(word)]
        if unknown or (rest and bodies is None):
            self.error(f"unrecognized arguments: {' '.join(unknown or rest)}")
        if bodies is not None:
            dashes = rest.index("--") if "--" in rest else len(rest)
            bodies += rest[:dashes] + rest[dashes + 1 :]
        return parsed

    def error(self, message: str) -> Any:
        """Say what is wrong with the command line, and end with code 2."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, redact(f"{self.prog}: {message}\n"))


def add_verb(verbs: Any, name: str, summary: str, more: str, examples: str, run: Callable[[argparse.Namespace], Any]) -> Parser:
    """Add a verb: a line for the list of verbs, a paragraph, and examples for its own help."""
    parser: Parser = verbs.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.\n\n{more}", epilog=f"examples:\n{examples}\n\n{EXIT_CODES}"
    )
    parser.set_defaults(run=run, verb=name)
    return parser


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add --url and --client-id."""
    group = parser.add_argument_group("the broker")
    group.add_argument("-u", "--url", default=os.environ.get("UNIMSG_URL"), help="the broker: sqlite:///orders.db, … (default: the environment's UNIMSG_URL)")
    group.add_argument("--client-id", help="the identity that durable subscriptions belong to")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add --json and --text."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_const", const="json", dest="output", help="print JSON lines (the default where the output is no terminal)")
    group.add_argument("--text", action="store_const", const="text", dest="output", help="print for people (the default on a terminal)")


def add_headers(parser: argparse.ArgumentParser) -> None:
    """Add what may be said of a message that is sent."""
    group = parser.add_argument_group("headers and properties")
    group.add_argument(
        "-p",
        "--property",
        action="append",
        type=typed_property,
        default=[],
        metavar="NAME[:TYPE]=VALUE",
        help="a property, seen by selectors: -p symbol=IBM -p lot:int=300 -p price:decimal=182.31",
    )
    group.add_argument("--type", help="your name for this kind of message (JMSType)")
    group.add_argument("--correlation-id", metavar="ID", help="what this belongs to or answers")
    group.add_argument("--reply-to", type=destination, metavar="DEST", help="where an answer should go")
    group.add_argument("--priority", type=int, metavar="0-9", help="9 is the most urgent; 4 if not said")
    group.add_argument("--ttl", type=seconds, metavar="SECONDS", help="time to live: after that it is never delivered")
    group.add_argument("--delay", type=seconds, metavar="SECONDS", help="not delivered before that")
    group.add_argument("--group", help="messages of one group go to one consumer at a time")
    group.add_argument("--key", help="the key by which a partitioned broker keeps order")
    group.add_argument("--non-persistent", action="store_true", help="it need not survive the broker")


def headers_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a send that `add_headers` has read."""
    options = {
        "properties": dict(args.property),
        "type": args.type,
        "correlation_id": args.correlation_id,
        "reply_to": args.reply_to,
        "priority": args.priority,
        "time_to_live": args.ttl,
        "delivery_delay": args.delay,
        "group": args.group,
        "key": args.key,
        "delivery_mode": "non-persistent" if args.non_persistent else None,
    }
    return {name: value for name, value in options.items() if value not in (None, {})}


def destination(text: str) -> Destination[Any]:
    """Read `queue:orders` or `topic:md.>`."""
    from unimsg.destination import parse_destination

    try:
        return parse_destination(text)
    except UnimsgError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """Read a number of seconds, 0 or more."""
    from unimsg.headers import check_seconds

    try:
        return check_seconds("a time", float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, such as 30 or 0.5") from None


def count(text: str) -> int:
    """Read a number from 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def typed_property(text: str) -> tuple[str, Any]:
    """Read `symbol=IBM`, a string, or `lot:int=300`, whose type is one of the wire format's."""
    name, equals, value = text.partition("=")
    name, _, kind = name.partition(":")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no property: write NAME=VALUE or NAME:TYPE=VALUE")
    try:
        return name, READERS[kind or "string"](value)
    except KeyError:
        raise argparse.ArgumentTypeError(f"{kind!r} is no type; there are: {', '.join(READERS)}") from None
    except (ValueError, ArithmeticError) as error:
        raise argparse.ArgumentTypeError(f"{name}: {value!r} is no {kind}{f' ({error})' if str(error) else ''}") from None


def _boolean(text: str) -> bool:
    return (
        {"true": True, "1": True, "false": False, "0": False}[text.lower()] if text.lower() in ("true", "1", "false", "0") else _refuse("write true or false")
    )


def _decimal(text: str) -> Any:
    from decimal import Decimal

    number = Decimal(text)
    return number if number.is_finite() else _refuse("a decimal is finite")


def _datetime(text: str) -> Any:
    from datetime import datetime

    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else _refuse("say the time zone: 2026-11-22T14:10:00Z")


def _bytes(text: str) -> bytes:
    import base64

    return base64.b64decode(text, validate=True)


def _null(text: str) -> None:
    if text:
        _refuse("a null has no value")


def _wrapped(kind: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        from unimsg.values import WRAPPERS

        wrapper = next(wrapper for wrapper in WRAPPERS if getattr(wrapper, "wire_type", None) == kind)
        return wrapper(text)

    return read


def _refuse(rule: str) -> Any:
    raise ValueError(rule)


READERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "boolean": _boolean,
    "long": int,
    "double": float,
    "decimal": _decimal,
    "datetime": _datetime,
    "bytes": _bytes,
    "null": _null,
    **{
        kind: _wrapped(kind)
        for kind in ("byte", "short", "int", "float", "char", "unsigned-byte", "unsigned-short", "unsigned-int", "unsigned-long", "nanotime")
    },
}
"""What reads a property of each type; all but `vector`, which has no form on a command line."""
