"""A child process ends when it is told to, when it is not willing, and when its parent is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unimsg.testing.process import Process

from .looking import LONG, alive, until

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def test_what_it_says_and_how_it_ends_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = Process([sys.executable, "-c", "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(7)"], log=log)

    assert process.wait(LONG) == 7
    assert log.read_text() == "out\nerr\n"


def test_sigterm_then_sigkill(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = Process([sys.executable, "-c", STUBBORN], log=log, patience=0.05)
    until(lambda: "up" in log.read_text(), "up")

    assert process.stop() == 128 + signal.SIGKILL
    assert not alive(process.pid)


def test_a_signal_of_the_terminal_is_not_heard_by_it(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "import sys, os; print(os.getsid(0), flush=True); sys.stdin.read()"], log=tmp_path / "log")

    assert process.wait(LONG) == 0
    assert (tmp_path / "log").read_text() == f"{process.pid}\n"  # a session of its own


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program did not start"):
        Process(["no-such-program"], log=tmp_path / "log")


def test_what_it_started_goes_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    process = Process([sys.executable, "-W", "ignore", "-c", code], log=log)

    assert process.wait(LONG) == 0
    child = int(log.read_text())
    until(lambda: not alive(child), "gone")


PARENT = """
import sys, time
from pathlib import Path
from unimsg.testing.process import Process
folder = Path(sys.argv[1])
process = Process([sys.executable, "-c", "import signal; signal.pause()"], log=folder / "log", remove=folder)
print(process.pid, flush=True)
time.sleep(600)
"""


def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)

        parent.kill()

        until(lambda: not alive(pid), "ended")
        until(lambda: not folder.exists(), "removed")
