"""`import unimsg` is quick because of what it leaves alone, and the arrows between packages point down."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.documents import ROOT

HEAVY = {
    "broker clients": {"slixmpp", "pika", "confluent_kafka", "aiormq", "sqlite3"},
    "our backends": {"unimsg_embedded"},
    "pydantic": {"pydantic", "pydantic_core"},
    "the command": {"rich", "argparse", "unimsg.cli"},
    "slow parts of the standard library": {"importlib.metadata", "dataclasses", "xml.etree.ElementTree"},
}


def imported_by(statement: str) -> set[str]:
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return set(json.loads(result.stdout))


@pytest.fixture(scope="module")
def modules() -> set[str]:
    # What the interpreter's own start (site, .pth files) brings is not our doing.
    return imported_by("import unimsg; unimsg.connect") - imported_by("pass")


@pytest.mark.parametrize("kind", HEAVY)
def test_import_leaves_alone(kind: str, modules: set[str]) -> None:
    assert "unimsg" in modules
    assert modules & HEAVY[kind] == set()


def test_a_message_of_plain_values_needs_pydantic_only_when_built_by_hand() -> None:
    assert "pydantic" in imported_by("import unimsg; unimsg.Message('x')")  # the guard above can tell


def test_help_reaches_no_broker_and_no_pydantic() -> None:
    found = imported_by("import unimsg.cli.command as c; c.parser().format_help()")
    assert found & (HEAVY["broker clients"] | HEAVY["our backends"] | HEAVY["pydantic"] | {"rich"}) == set()


def test_the_arrows_point_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
