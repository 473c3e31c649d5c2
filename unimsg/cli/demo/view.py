"""What the demo shows: a live table on a terminal with rich, a line a second anywhere else, and the account at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from unimsg.cli.demo.play import Play
from unimsg.cli.demo.tally import Tally, percentile
from unimsg.cli.screen import Screen, note
from unimsg.registry import URL

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["account", "record_of", "watching"]

RECENT = 1000
"""Latencies that the live table looks back on."""
WIDE = 110
"""Columns of a terminal that has room for the whole live table."""


@asynccontextmanager
async def watching(play: Play, screen: Screen) -> AsyncIterator[None]:
    """Show the play while it runs."""
    if screen.lines:
        yield
        return
    show = _live(play) if screen.terminal and _rich() else _plain(play, screen)
    task = asyncio.create_task(show)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _rich() -> bool:
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError:
        note("for a live table: pip install 'unimsg[cli]'")
        return False
    return True


async def _plain(play: Play, screen: Screen) -> None:
    while True:
        arrived = "  ".join(f"{tally.role.name} {len(tally.seen)}/{len(tally.wanted)}" for tally in play.tallies)
        screen.text(f"published {play.sent}/{play.total}  {arrived}  ({play.act})")
        await asyncio.sleep(1.0)


async def _live(play: Play) -> None:
    from rich.live import Live

    start = time.monotonic()
    with Live(auto_refresh=False, transient=True) as live:
        while True:
            live.update(_table(play, time.monotonic() - start, live.console.width), refresh=True)
            await asyncio.sleep(0.1)


def _table(play: Play, elapsed: float, width: int) -> Group:
    from rich import box
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    names = ("process", "listens to", "state", "", "received", "of", "p50", "p99", "the last one")[: None if width >= WIDE else 7]
    for name in names:
        table.add_column(name, justify="right" if name in ("received", "of", "p50", "p99") else "left", no_wrap=True)
    state = {"starting": "publishing"}.get(play.publisher.state, play.publisher.state)
    rows: list[tuple[Any, ...]] = [("publisher", "", state, ProgressBar(play.total, play.sent, 8), f"{play.sent:,}", f"{play.total:,}", "", "", "")]
    for tally, actor in zip(play.tallies, play.subscribers, strict=True):
        told = Text(actor.state, style={"killed": "bold red", "starting": "yellow"}.get(actor.state, "green"))
        bar = ProgressBar(len(tally.wanted), len(tally.seen), 8)
        counts = (f"{len(tally.seen):,}", f"{len(tally.wanted):,}")
        rows.append((tally.role.name, tally.role.pattern, told, bar, *counts, *_latencies(tally, RECENT), _last(play, tally)))
    for row in rows:
        table.add_row(*row[: len(names)])
    return Group(Text(f"unimsg demo: {play.act} ({elapsed:.0f} s)", style="bold"), table)


def _latencies(tally: Tally, recent: int | None = None) -> tuple[str, str]:
    values = tally.microseconds[-recent:] if recent else tally.microseconds
    found = (percentile(values, part) for part in (0.5, 0.99))
    p50, p99 = ("-" if value is None else f"{value / 1000:.1f} ms" for value in found)
    return p50, p99


def _last(play: Play, tally: Tally) -> str:
    if tally.last is None:
        return ""
    tick = play.file[tally.last]
    prices = " ".join(f"{name} {tick.values[name]}" for name in ("price", "bid", "ask") if name in tick.values)
    return f"{tick.symbol} {prices}"


def record_of(play: Play, faults: list[str]) -> dict[str, object]:
    """Return the account as a record."""
    return {
        "url": str(URL(play.url)),
        "published": play.sent,
        "rows": play.total,
        "seconds": play.seconds,
        "subscribers": [
            {
                "name": tally.role.name,
                "pattern": tally.role.pattern,
                "selector": tally.role.selector,
                "received": len(tally.seen),
                "expected": len(tally.wanted),
                "redelivered": tally.again,
                "p50_ms": _ms(tally, 0.5),
                "p99_ms": _ms(tally, 0.99),
            }
            for tally in play.tallies
        ],
        "kills": play.kills,
        "stanza": play.stanza,
        "faults": faults,
    }


def _ms(tally: Tally, part: float) -> float | None:
    value = percentile(tally.microseconds, part)
    return None if value is None else value / 1000


def account(play: Play, screen: Screen, faults: list[str], shown_url: str) -> None:
    """Print what happened: counts, rate, latencies, a stanza, and how to do it again elsewhere."""
    seconds = play.seconds or 0.0
    pace = f"paced at {play.rate:,.0f}/s" if play.rate else "as fast as it goes"
    screen.text(
        (f"{play.sent:,} messages", "bold"),
        f" published and confirmed in {seconds:.1f} s, {play.sent / seconds if seconds else 0:,.0f}/s ({pace}); the file has {play.total:,} rows",
    )
    columns = ("process", "listens to", "received", "expected", "p50", "p99")
    rows = [(tally.role.name, tally.role.pattern, f"{len(tally.seen):,}", f"{len(tally.wanted):,}", *_latencies(tally)) for tally in play.tallies]
    screen.table(columns, rows, numbers=columns[2:])
    for tally in play.tallies:
        if tally.role.selector is not None:
            screen.text((tally.role.name, "bold"), f": selector {tally.role.selector}")
        if tally.role.durable:
            again = f"{tally.again} messages that it held came twice, and say so" if tally.again else "it held nothing then, so nothing came twice"
            screen.text((tally.role.name, "bold"), f": killed with -9 and started again; {again}")
    for fault in faults:
        screen.text((f"WRONG  {fault}", "bold red"))
    if not faults:
        screen.text(("Counts equal the file's, and every field of every message does: prices to the last zero, times, sizes.", "bold green"))
    if play.stanza is not None:
        screen.text("\nOne stanza as it travelled:\n", (play.stanza, "cyan"))
    screen.text(f"\nThat was {shown_url}. The same over another broker: unimsg demo --url sqlite:///demo.db   (make demo URL=sqlite:///demo.db)")
