"""Who listens in the demo: three subscribers, what each asks for, and what of the file it must therefore get."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from unimsg.cli.demo.excerpt import Tick

__all__ = ["ROLES", "Role"]


class Role(NamedTuple):
    """A subscriber. `wants` says in plain Python, independently of patterns and selectors, which ticks are its own."""

    name: str
    pattern: str
    selector: str | None
    durable: bool
    wants: Callable[[Tick], bool]


ROLES = (
    Role("recorder", "md.>", None, True, lambda _: True),
    Role("trades", "md.US.*.trade", None, False, lambda tick: tick.kind == "trade"),
    Role(
        "ibm bids",
        "md.*.IBM.quote",
        "bid >= 181.80 AND bid_size >= 200",
        False,
        lambda tick: (tick.symbol, tick.kind) == ("IBM", "quote") and tick.values.get("bid", 0) >= Decimal("181.80") and tick.values["bid_size"] >= 200,
    ),
)
"""The recorder has a durable subscription: it is the one that is killed, and must miss nothing."""
