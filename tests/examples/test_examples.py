"""Every example runs as it stands on every backend, and says what it is there to show."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.documents import ROOT

ALL = sorted((ROOT / "examples").glob("*.py"))
EXAMPLES = [path for path in ALL if path.stem != "xmpp_plain_client"]  # that one knows no unimsg URL: tests/xmpp/test_plain_client.py
SHOWN = {
    "hello": ["hello, world"],
    "market_topics": ["md.LSE.VOD", "101.2500 / 101.3000", "dear: 182.20"],
    "read_the_stanza": [
        '<property name="symbol" type="string">VOD.L</property>',
        "order ['VOD.L', '1 < 2']",
        "ID:by-hand {'lot': Int(300)} buy",
        "Int stays what it was",
    ],
    "request_reply": ["0 1 4 9 16 25 36 49 64 81", "no answer from queue:nobody within 0.2 s"],
    "transactions": ["attempt 1: the power fails; nothing was taken, nothing was sent", "attempt 2: 100 VOD.L, redelivered: True", "bought 100 VOD.L"],
    "work_queue": ["delivery 3: nobody sells thirteen", "delivery 1: the exchange did not answer", "set aside: symbol='BAC' lots=13", "42 filled, 321 lots"],
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(example), url]

    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)

    assert (result.returncode, result.stderr) == (0, "")
    for line in SHOWN[example.stem]:
        assert line in result.stdout


def test_examples_are_short() -> None:
    assert EXAMPLES
    assert [path.name for path in EXAMPLES if path.read_text(encoding="utf-8").count("\n") > 60] == []
    assert [path.name for path in ALL if path.read_text(encoding="utf-8").count("\n") >= 100] == []
