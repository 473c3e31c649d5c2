"""What all measurements share: medians of several runs, and tables."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["header", "median", "nanoseconds", "show"]


def median(measure: Callable[[], float], runs: int = 5) -> float:
    """Return the median of several runs of a measurement; the first, which warms up, does not count."""
    measure()
    return statistics.median(measure() for _ in range(runs))


def nanoseconds(call: Callable[[Any], object], argument: Any, seconds: float = 0.05, runs: int = 7) -> float:
    """Return the median time of one call, the loop around it taken off."""
    clock = time.perf_counter_ns
    number = 1
    while True:
        start = clock()
        for _ in range(number):
            call(argument)
        if clock() - start > seconds * 1e9:
            break
        number *= 2

    def once() -> float:
        start = clock()
        for _ in range(number):
            call(argument)
        called = clock()
        for _ in range(number):
            pass
        return ((called - start) - (clock() - called)) / number

    return statistics.median(once() for _ in range(runs))


def header() -> dict[str, object]:
    """Return when, where and with what was measured."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "CPUs": os.cpu_count(),
        "load before": load,
    }


def show(title: str, result: Mapping[str, object]) -> None:
    """Print the result of a `run()`: plain values as lines, dictionaries of dictionaries as tables."""
    print(f"\n## {title}\n")
    rows = {name: row for name, row in result.items() if isinstance(row, Mapping)}
    for name, value in result.items():
        if name not in rows:
            print(f"- {name}: {_text(value)}")
    while rows:
        # Rows of one set of columns in a sequence make one table.
        columns = list(next(iter(rows.values())))
        table = {}
        for name, row in list(rows.items()):
            if list(row) != columns:
                break
            table[name] = rows.pop(name)
        _table(columns, table)


def _table(columns: list[str], rows: Mapping[str, Mapping[str, object]]) -> None:
    lines = [["", *columns], *([name, *(_text(value) for value in row.values())] for name, row in rows.items())]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns) + 1)]
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        print("| " + " | ".join(cells) + " |")
        if not number:
            print("|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|")
    print()
    sys.stdout.flush()


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)
