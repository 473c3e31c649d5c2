"""What the documents show runs as it stands, says what it is shown to say, and leads where it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.documents import DOCUMENTS, ROOT, Block, anchors, blocks, links
from unimsg import wire
from unimsg.cli.command import parser


def shown(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("block", blocks("python"), ids=shown)
def test_a_program_in_a_document_runs(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.text, encoding="utf-8")

    result = subprocess.run([sys.executable, "-W", "error", str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)

    assert result.returncode == 0, result.stderr


def test_fragments_in_documents_are_python() -> None:
    for block in blocks("python fragment"):
        compile(block.text, block.name, "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT


@pytest.mark.parametrize("block", blocks("console"), ids=shown)
def test_a_session_in_a_document_goes_as_shown(block: Block, tmp_path: Path) -> None:
    """`$ command` lines run in one shell and folder; what follows each is its output, `…` standing for anything."""
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert commands[0] == "", "a console block begins with a `$ ` line"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "UNIMSG_URL": "sqlite:///session.db"}
    for command in commands[1:]:
        line, _, output = command.partition("\n")
        while line.endswith("\\"):
            more, _, output = output.partition("\n")
            line = f"{line[:-1]}{more}"
        result = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=False)
        said = result.stdout + result.stderr
        wanted = ".*".join(map(re.escape, output.rstrip("\n").split("…")))
        assert re.fullmatch(wanted, said.rstrip("\n"), re.DOTALL), f"$ {line}\ngave (code {result.returncode})\n{said}\nshown is\n{output}"


@pytest.mark.parametrize("block", [block for block in blocks("xml") if block.document.name == "README.md"], ids=shown)
def test_the_stanza_of_the_readme_is_one(block: Block) -> None:
    stanza = block.text.removesuffix("\n").encode()
    assert wire.encode(wire.decode(stanza)) == stanza


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in links(document):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target  # whether the world is still there is not ours to test
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{target}: there is no {file}"
        if anchor:
            assert anchor in anchors(file), f"{target}: {file.name} has no such heading"


def test_the_documents_show_programs_and_sessions() -> None:
    """Guard the guards: blocks that are not found are not run."""
    assert sum(block.document.name == "README.md" for block in blocks("python")) >= 1
    assert sum(block.document.name == "cli.md" for block in blocks("console")) >= 3


def test_every_code_block_says_what_it_is() -> None:
    known = {"python", "python fragment", "console", "shell", "xml", "json", "text", "toml", "rnc", "abnf", "sql", ""}
    for document in DOCUMENTS:
        fences = re.findall(r"^```(.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) % 2 == 0, f"{document}: a fence is not closed"
        assert set(fences) <= known, f"{document}: {set(fences) - known}"


@pytest.mark.parametrize("block", blocks("shell"), ids=shown)
def test_a_shell_block_names_verbs_that_exist(block: Block) -> None:
    """Blocks for the reader's own shell are not run, but their make targets and verbs must be there."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    verbs = set(re.findall(r"^    ([a-z]+)  ", parser().format_help(), re.MULTILINE))
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        if words[:1] == ["unimsg"]:
            assert words[1] in verbs or words[1].startswith("-"), line


def test_the_changelog_has_a_place_for_what_comes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## Unreleased$", text, re.MULTILINE)
