"""`unimsg backends`: what is installed, and what each can do, read from the drivers themselves."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unimsg.capabilities import FEATURES, Capabilities, Support
from unimsg.cli.arguments import add_output, add_verb
from unimsg.cli.outcome import OK, PROBLEM
from unimsg.cli.screen import Screen
from unimsg.driver import Identity
from unimsg.errors import BackendNotInstalledError, InvalidURLError
from unimsg.registry import URL, backends, load

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["add", "found", "markdown"]

MORE = """native: the broker does it. emulated: unimsg does it on top, at a cost that the note names. -: asking for it is refused.
Code 1: an installed backend cannot be loaded."""

EXAMPLES = """  unimsg backends
  unimsg backends --json | jq -r 'select(.capabilities.priority.support == "native") | .scheme'
  unimsg backends --markdown"""

TRIED = ("{}:///capabilities", "{}://localhost", "{}://user:password@localhost", "{}://")
"""URLs that a backend may take; making a driver does no I/O, and this one is never opened."""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "backends", "show the installed backends and what each can do", MORE, EXAMPLES, run)
    parser.add_argument("--markdown", action="store_true", help="print the table as the README shows it")
    add_output(parser)


def capabilities_of(point: EntryPoint) -> Capabilities:
    """Return what a backend can do. Raises BackendNotInstalledError, or InvalidURLError of the last URL tried."""
    factory = load(point)
    for form in TRIED:
        try:
            driver = factory(URL(form.format(point.name)), Identity(uuid.uuid4().hex))
            break
        except InvalidURLError:
            if form is TRIED[-1]:
                raise
    return driver.capabilities


def found() -> Mapping[str, Capabilities | Exception]:
    """Return the capabilities of every installed backend by scheme, or why they cannot be told."""
    all_of_them: dict[str, Capabilities | Exception] = {}
    for scheme, point in backends().items():
        try:
            all_of_them[scheme] = capabilities_of(point)
        except (BackendNotInstalledError, InvalidURLError, ImportError, AttributeError) as error:
            all_of_them[scheme] = error
    return all_of_them


async def run(args: argparse.Namespace) -> int:
    """Print the table."""
    screen = Screen(args)
    known = found()
    broken = {scheme: error for scheme, error in known.items() if isinstance(error, Exception)}
    able = {scheme: capabilities for scheme, capabilities in known.items() if isinstance(capabilities, Capabilities)}
    if args.markdown:
        print(markdown(able), end="")
    elif screen.lines:
        points = backends()
        for scheme in known:
            screen.record(_record(scheme, points[scheme], known[scheme]))
    else:
        schemes = [f"{scheme}://" for scheme in able]
        screen.table(["feature", *schemes, "meaning"], [[name, *_levels(able, name), meaning] for name, meaning in FEATURES.items()])
        for name in FEATURES:
            for scheme, capabilities in able.items():
                if note := capabilities[name].note:
                    screen.text((f"{scheme}:// {name}", "bold"), f": {note}")
        for scheme, capabilities in able.items():
            screen.text((f"{scheme}:// limits", "bold"), f": {_limits(capabilities)}")
        for scheme, error in broken.items():
            screen.text((f"{scheme}:// cannot be used", "red"), f": {error}")
    return PROBLEM if broken else OK


def _levels(able: Mapping[str, Capabilities], name: str) -> list[str]:
    return [{Support.UNSUPPORTED: "-"}.get(capabilities[name].support, capabilities[name].support.value) for capabilities in able.values()]


def _limits(capabilities: Capabilities) -> str:
    limits = capabilities.limits
    size = "no limit known" if limits.max_message_bytes is None else f"{limits.max_message_bytes:,} bytes"
    return f"largest message {size}; {limits.priorities} priorities; smallest delay {limits.smallest_delay:g} s; order {limits.order}"


def _record(scheme: str, point: EntryPoint, known: Capabilities | Exception) -> dict[str, Any]:
    distribution = point.dist
    record: dict[str, Any] = {"scheme": scheme, "backend": point.value}
    if distribution is not None:
        record |= {"distribution": distribution.name, "version": distribution.version}
    if isinstance(known, Exception):
        return record | {"error": str(known)}
    features = {name: {"support": feature.support.value, "note": feature.note} for name, feature in known.items()}
    return record | {"limits": known.limits._asdict(), "capabilities": features}


def markdown(able: Mapping[str, Capabilities]) -> str:
    """Return the table of capabilities for a document."""
    lines = [f"| feature | {' | '.join(f'`{scheme}://`' for scheme in able)} |", f"|---|{'---|' * len(able)}"]
    lines += [f"| `{name}`: {meaning} | {' | '.join(_levels(able, name))} |" for name, meaning in FEATURES.items()]
    sizes = ("no limit known" if known.limits.max_message_bytes is None else size(known.limits.max_message_bytes) for known in able.values())
    return "\n".join([*lines, f"| largest message, if the URL says no other | {' | '.join(sizes)} |"]) + "\n"


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    unit, name = (2**20, "MiB") if count >= 2**20 else (2**10, "KiB")
    return f"{count / unit:.4g} {name}"
