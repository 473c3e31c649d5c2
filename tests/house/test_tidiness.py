"""Files that are short enough to read, and that speak of the project alone."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.house.documents import ROOT

LISTED = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\0")
FILES = [path for name in LISTED if name and (path := ROOT / name).is_file()] or [
    path for path in ROOT.rglob("*") if path.is_file() and not {".git", ".venv"} & set(path.parts)
]
TEXTS = [path for path in FILES if path.suffix in {".py", ".md", ".toml", ".rng", ".rnc", ".xsd", ".json", ".sql", ""} and path.name != "LICENSE"]

# Spelled so that this file does not find itself.
FOREIGN = re.compile(
    r"index[-_]url\s*[=:]|registry\s*=\s*[\"']?http|pypi\.org|pythonhosted|https?://[^\s/]*(?:artifactory|nexus|proxy)[^\s/]*/"
    r"|(?<![\w.$}/*-])/(?:home|Users|root|work|opt)/\w",
    re.IGNORECASE,
)


def test_there_are_files() -> None:
    assert len(TEXTS) > 50


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".py"], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_idea(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= 600


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    found = []
    for path in TEXTS:
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if FOREIGN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


@pytest.mark.parametrize("line", ["index" + "-url = x", "/" + "home/somebody/x", "cd /" + "work/x", "https://pypi" + ".org/simple"])
def test_the_rule_finds_what_it_is_for(line: str) -> None:
    assert FOREIGN.search(line)


def test_no_lock_file() -> None:
    assert [path.name for path in FILES if path.name in {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"}] == []
