"""The excerpt of real market data, as ticks: a topic, typed fields with exact prices, and properties for selectors."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple

from unimsg.bodies import Fields

__all__ = ["Tick", "check_of", "ticks"]

MIDNIGHT = datetime(2013, 10, 7, 4, tzinfo=UTC)
"""Midnight in New York on that day, which keeps daylight saving time (UTC-4)."""


class Tick(NamedTuple):
    """One row of the file; `number` counts from 0."""

    number: int
    symbol: str
    kind: str
    values: dict[str, Any]

    @property
    def topic(self) -> str:
        """Return the name of its topic: `md.US.IBM.quote`."""
        return f"md.US.{self.symbol}.{self.kind}"

    @property
    def properties(self) -> dict[str, Any]:
        """Return what selectors may ask about, and the row's number, by which the demo counts."""
        return {"number": self.number, "symbol": self.symbol} | {name: value for name, value in self.values.items() if name not in ("time", "condition")}

    @property
    def check(self) -> int:
        """Return the check sum of its values, as `check_of` does of what has travelled."""
        return check_of(self.values)


def check_of(values: dict[str, Any]) -> int:
    """Return a check sum of names, types and values: a price that lost a zero has another one."""
    return zlib.crc32(repr(values).encode())


def fields_of(tick: Tick) -> Fields:
    """Return the body of its message."""
    return Fields(tick.values)


def ticks(most: int | None = None) -> Iterator[Tick]:
    """Yield the first `most` ticks of the file, or all."""
    with (files("unimsg.cli.demo") / "data" / "us_20131007.csv.gz").open("rb") as packed, gzip.open(packed, "rt", encoding="ascii") as rows:
        for number, row in enumerate(islice(rows, most)):
            symbol, kind, *columns = row.split(",")
            yield Tick(number, symbol, kind, _quote(columns) if kind == "quote" else _trade(columns))


def _price(text: str) -> Decimal:
    return Decimal(text).scaleb(-4)


def _quote(columns: list[str]) -> dict[str, Any]:
    ms, bid, bid_size, ask, ask_size, exchange, condition, _ = columns
    values: dict[str, Any] = {"time": MIDNIGHT + timedelta(milliseconds=int(ms))}
    if bid != "0":  # a side that did not change is left out
        values |= {"bid": _price(bid), "bid_size": int(bid_size)}
    if ask != "0":
        values |= {"ask": _price(ask), "ask_size": int(ask_size)}
    return values | {"exchange": exchange, "condition": condition}


def _trade(columns: list[str]) -> dict[str, Any]:
    ms, price, size, exchange, condition, _ = columns
    time = MIDNIGHT + timedelta(milliseconds=int(ms))
    return {"time": time, "price": _price(price), "size": int(size), "exchange": exchange, "condition": condition}
