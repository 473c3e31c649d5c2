"""The programs that fix the API end well on every backend, unchanged."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in {"common", "run", "test_acceptance"})


@pytest.mark.timeout(150)
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_ends_well(program: str, url: str) -> None:
    command = [sys.executable, "-W", "error", str(HERE / f"{program}.py"), url]

    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "ok"


def test_there_are_ten() -> None:
    assert len(PROGRAMS) == 10
