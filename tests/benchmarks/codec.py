"""The codec: a tick of 835 bytes with ten typed values, written and read with all its values, against json.

Everything is measured as a user gets it: `wire.encode_parts`, `wire.decode`, and then the headers, properties and body of
the message. The ticks differ from one another. Each round measures all ways one after the other in one process, so that
a ratio compares neighbours; the ratio told is the median of the rounds'. The clock is the thread's own processor time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.benchmarks.report import show
from unimsg import wire
from unimsg.wire import flat, generic, hot, split

NUMBER, ROUNDS = 1000, 15
Tick = tuple[dict[str, Any], dict[str, Any], str]


def tick(number: int) -> Tick:
    """Return headers, properties and body of a quote."""
    at = datetime(2026, 11, 22, 14, 10, 0, 123456, tzinfo=UTC) + timedelta(microseconds=7919 * number)
    bid = Decimal("101.25") + Decimal(number % 97) / 100
    head = {
        "correlation-id": "md.LSE.VOD",
        "destination": "topic:md.LSE.VOD.quote",
        "id": f"ID:0192f3a4-7b2c-7def-8abc-{number:012x}",
        "timestamp": at,
        "type": "quote",
    }
    properties = {
        "symbol": "VOD.L",
        "venue": "LSE",
        "bid": bid,
        "ask": bid + Decimal("0.02"),
        "bidsize": 3400 + number,
        "asksize": 1200 + number,
        "vwap": 101.2612 + number / 8192,
        "halted": number % 50 == 0,
        "at": at.replace(microsecond=0),
        "cond": "R",
    }
    return head, properties, "tick"


def _plain(item: Tick) -> dict[str, Any]:
    head, properties, body = item
    return {name: str(value) if isinstance(value, (Decimal, datetime)) else value for name, value in {**head, **properties, "body": body}.items()}


def _read(message: Any) -> Any:
    return message.head, message.properties, message.body


def _round_trip(item: Tick) -> Any:
    return _read(wire.decode(wire.encode_parts(item[0], item[1], "text", item[2])))


def _general(item: Tick) -> Any:
    data = generic.write(item[0], item[1], "text", item[2])
    return _read(split.split(str(data, "utf-8"), data))


def _typed_json(item: Tick) -> Any:
    head, properties, body = item
    found = json.loads(json.dumps({**head, **properties, "body": body}, default=str).encode())
    for name in ("timestamp", "at"):
        found[name] = datetime.fromisoformat(found[name])
    for name in ("bid", "ask"):
        found[name] = Decimal(found[name])
    return found


def _timed(call: Callable[[Any], Any], items: list[Any]) -> float:
    start = time.thread_time()
    for item in items:
        call(item)
    return (time.thread_time() - start) / len(items) * 1e6


def run() -> dict[str, object]:
    """Measure, and return medians (microseconds a message) and ratios."""
    ticks = [tick(number) for number in range(NUMBER)]
    plain = [_plain(item) for item in ticks]
    stanzas = [wire.encode_parts(item[0], item[1], "text", item[2]) for item in ticks]
    hot.forget()
    ways: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        "json, bare": (lambda item: json.loads(json.dumps(item).encode()), plain),
        "json, same types": (_typed_json, ticks),
        "unimsg": (_round_trip, ticks),
        "unimsg, general path": (_general, ticks),
        "encode": (lambda item: wire.encode_parts(item[0], item[1], "text", item[2]), ticks),
        "decode and read all": (lambda data: _read(wire.decode(data)), stanzas),
        "decode alone": (wire.decode, stanzas),
        "strict, and read all": (lambda data: _read(flat.strictly(data)), stanzas),
    }
    for _ in range(2):  # warm: by now the hot shape has its code
        for call, items in ways.values():
            _timed(call, items)
    rounds = [{name: _timed(call, items) for name, (call, items) in ways.items()} for _ in range(ROUNDS)]
    result: dict[str, object] = {f"{name}, µs": round(statistics.median(one[name] for one in rounds), 2) for name in ways}

    def ratio(way: str, base: str) -> float:
        return round(statistics.median(one[way] / one[base] for one in rounds), 3)

    result["bytes of a stanza"] = len(stanzas[0])
    result["unimsg / bare json (≤ 1.2)"] = ratio("unimsg", "json, bare")
    result["unimsg / json of the same types (≤ 0.8)"] = ratio("unimsg", "json, same types")
    result["general path / bare json (≤ 1.8)"] = ratio("unimsg, general path", "json, bare")
    result["strict, µs (≤ 35)"] = result["strict, and read all, µs"]
    return result


if __name__ == "__main__":
    show("codec", run())
    sys.exit(0)
