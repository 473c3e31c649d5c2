"""The demo proves what it says: run whole on a file, and caught out when something is wrong."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from unimsg import Message, wire
from unimsg.bodies import Fields
from unimsg.cli.demo.excerpt import check_of, fields_of, ticks
from unimsg.cli.demo.roles import ROLES
from unimsg.cli.demo.tally import Tally, percentile

from .command import unimsg

FILE = list(ticks())


def test_the_file_is_what_its_note_says() -> None:
    assert len(FILE) == 25_732
    assert {tick.topic for tick in FILE} == {"md.US.IBM.quote", "md.US.IBM.trade", "md.US.BAC.trade", "md.US.SPY.trade"}
    first = FILE[0]
    assert str(first.values["time"]).startswith("2013-10-07 13:30:00")
    assert all(isinstance(tick.values[name], Decimal) for tick in FILE for name in ("price", "bid", "ask") if name in tick.values)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seconds", ["0", "3"], ids=["as fast as it goes", "paced"])
def test_it_runs_and_all_is_equal(shared: str, seconds: str) -> None:
    said = unimsg("demo", "--url", shared, "--messages", "4000", "--seconds", seconds, "--json", timeout=110)

    assert (said.code, said.err) == (0, "")
    (record,) = said.records
    assert (record["published"], record["rows"], record["faults"], record["kills"]) == (4000, 4000, [], 1)
    assert [(found["received"], found["expected"]) for found in record["subscribers"]] == [(wanted, wanted) for wanted in map(expected, ROLES)]
    stanza = wire.decode(record["stanza"].encode())
    assert stanza.body_kind == "fields"
    assert wire.encode(stanza) == record["stanza"].encode()
    assert unimsg("list", url=shared).records == [], "it leaves nothing behind"


def expected(role: Any) -> int:
    return sum(role.wants(tick) for tick in FILE[:4000])


def test_it_says_so_where_processes_do_not_meet() -> None:
    said = unimsg("demo", "--url", "memory://", "--messages", "10", "--text")
    assert said.code == 1
    assert "sqlite:///" in said.err


def test_the_check_sum_sees_a_lost_zero() -> None:
    assert check_of({"price": Decimal("182.3100")}) != check_of({"price": Decimal("182.31")})
    assert check_of({"size": 1}) != check_of({"size": 1.0})
    assert check_of(Fields({"size": 1}).to_dict()) == check_of({"size": 1})


def test_every_tick_survives_the_wire_to_the_last_zero() -> None:
    for tick in FILE[:500] + FILE[-500:]:
        travelled = wire.decode(wire.encode(Message(fields_of(tick), properties=tick.properties)))
        assert (check_of(travelled.body.to_dict()), dict(travelled.properties)) == (tick.check, tick.properties)


def reports(role: int, numbers: Iterable[int]) -> list[tuple[int, int, int, int]]:
    return [(tick.number, 100, tick.check, 1) for tick in FILE[:500] if tick.number in numbers and ROLES[role].wants(tick)]


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        (reports(1, range(400)), "did not arrive"),
        (reports(1, range(500)) + reports(1, range(20)), "arrived twice"),
        ([*reports(1, range(500)), next((tick.number, 1, tick.check, 1) for tick in FILE[:500] if tick.kind == "quote")], "do not cover"),
        ([*reports(1, range(500))[1:], (*reports(1, range(500))[0][:2], 7, 1)], "other contents"),
    ],
)
def test_a_fault_is_found(report: list[tuple[int, int, int, int]], fault: str) -> None:
    good = Tally(ROLES[1], FILE[:500])
    good.take(reports(1, range(500)))
    assert good.faults() == []

    bad = Tally(ROLES[1], FILE[:500])
    bad.take(report)

    assert [found for found in bad.faults() if fault in found]


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([7], 0.99) == 7
    assert percentile(range(1000), 0.5) == 500
    assert percentile(range(1000), 0.99) == 990
