"""Selectors: how often one is evaluated a second, and what compiling costs."""

from __future__ import annotations

import statistics
import time
from decimal import Decimal
from typing import Any

from tests.benchmarks.report import nanoseconds, show
from unimsg.destination import Queue
from unimsg.driver import Route
from unimsg.message import Message
from unimsg.selector import Selector
from unimsg.selector.selector import program_of

TICK: dict[str, Any] = {"price": 101, "venue": "LSE", "symbol": "VOD.L", "size": 300, "bid": Decimal("101.20"), "mid": 101.25, "open": True}
SELECTORS = {
    "two comparisons": "price > 100 AND venue = 'LSE'",
    "two comparisons, false at once": "price > 200 AND venue = 'LSE'",
    "one boolean": "open",
    "LIKE 'VOD%'": "symbol LIKE 'VOD%'",
    "LIKE '%O_.%'": "symbol LIKE '%O_.%'",
    "IN of three": "venue IN ('XETRA', 'NYSE', 'LSE')",
    "BETWEEN of doubles": "mid BETWEEN 100.5 AND 102.5",
    "a Decimal with 101.25": "bid < 101.25",
    "arithmetic": "price * size / 100 > 300",
    "a header and a property": "JMSType = 'quote' AND size >= 300",
    "ten comparisons": " AND ".join(["price > 100", "venue = 'LSE'", "size <> 5", "open", "mid < 102."] * 2),
}


def _compile_microseconds(text: str) -> float:
    """Return what the first evaluation of a new text costs: parsing it, and making its function."""
    times = []
    for _ in range(30):
        program_of.cache_clear()
        start = time.perf_counter()
        Selector(text).matches(TICK)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def run() -> dict[str, object]:
    """Measure each of the selectors over a mapping, a route and a message."""
    route = Route(Queue("q"), type="quote", properties=TICK)
    message = Message("x", type="quote", properties=TICK)
    result: dict[str, object] = {}
    for name, text in SELECTORS.items():
        selector = Selector(text)
        result[name] = {
            "matches/s": 1e9 / nanoseconds(selector.matches, TICK),
            "evaluate/s": 1e9 / nanoseconds(selector.evaluate, TICK),
            "routes/s": 1e9 / nanoseconds(selector.matches_route, route),
            "messages/s": 1e9 / nanoseconds(selector.matches_message, message),
            "first use, µs": _compile_microseconds(text),
        }
    return result


if __name__ == "__main__":
    show("selector", run())
