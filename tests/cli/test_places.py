"""list, purge, delete, doctor and backends: what there is, and what becomes of it."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.house.documents import ROOT
from unimsg.capabilities import FEATURES, Capabilities
from unimsg.cli.backends import found, markdown

from .command import called, unimsg


def test_list_purge_delete(shared: str) -> None:
    unimsg("publish", "queue:orders", "a", "b", url=shared)
    (record,) = unimsg("list", url=shared).records
    assert (record["destination"], record["depth"], record["in_flight"], record["consumers"]) == ("queue:orders", 2, 0, 0)
    assert unimsg("purge", "queue:orders", url=shared).records == [{"destination": "queue:orders", "subscription": None, "purged": 2}]
    assert unimsg("list", url=shared).records[0]["depth"] == 0
    assert unimsg("delete", "queue:orders", url=shared).records == [{"deleted": "queue:orders"}]
    assert unimsg("list", url=shared).records == []
    gone = unimsg("delete", "queue:orders", url=shared)
    assert gone.code == 2
    assert "queue:orders" in gone.err


def test_a_list_for_people(shared: str) -> None:
    unimsg("publish", "queue:orders", "a", url=shared)
    said = unimsg("list", "--text", url=shared)
    assert said.code == 0
    assert "destination" in said.out
    assert "queue:orders" in said.out


def test_a_healthy_file_and_a_sick_one(shared: str) -> None:
    unimsg("publish", "queue:orders", "a", url=shared)
    well = unimsg("doctor", shared)
    assert well.code == 0
    assert {record["level"] for record in well.records} <= {"ok", "warn"}

    file = Path(shared.removeprefix("sqlite:///") + ".other")
    file.write_bytes(b"this is no database at all, only a text that is long enough")
    ill = unimsg("doctor", f"sqlite:///{file}")
    assert ill.code == 1
    assert [record for record in ill.records if record["level"] == "fail" and record["text"]]


def test_backends_tell_of_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    records = {record["scheme"]: record for record in called(capsys, "backends").records}
    assert set(records) == {point.name for point in entry_points(group="unimsg.backends")}
    assert set(records["memory"]["capabilities"]) == set(FEATURES)
    assert records["memory"]["capabilities"]["persistent"]["support"] == "unsupported"


def test_the_readme_shows_what_the_drivers_say() -> None:
    able = {scheme: known for scheme, known in found().items() if isinstance(known, Capabilities)}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- backends:start")[2].partition("-->\n")[2].partition("<!-- backends:end -->")[0]
    assert shown == markdown(able), "write it anew: unimsg backends --markdown"
