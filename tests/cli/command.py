"""How the tests run the command: mostly in a process of its own, with everything said and everything caught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from unimsg.cli import main

COMMAND = (sys.executable, "-W", "error", "-m", "unimsg.cli")


class Result(NamedTuple):
    """What a command said, and its code."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which nothing of ours is set but what is said."""
    return {name: value for name, value in os.environ.items() if name != "UNIMSG_URL"} | {"COLUMNS": "200", "TERM": "xterm"} | more


def unimsg(*arguments: str, url: str | None = None, stdin: bytes = b"", timeout: float = 40.0) -> Result:
    """Run the command to its end; its output is a pipe."""
    given = environment() if url is None else environment(UNIMSG_URL=url)
    done = subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, timeout=timeout, env=given, check=False)
    return Result(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode())


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> Result:
    """Run the command in this process, for what it says before it does anything: much quicker."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    said = capsys.readouterr()
    return Result(code, said.out, said.err)


def start(arguments: Sequence[str], url: str) -> subprocess.Popen[bytes]:
    """Start the command with pipes all around, in a process group of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, env=environment(UNIMSG_URL=url), start_new_session=True)
