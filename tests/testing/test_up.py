"""`unimsg testing up` prints a URL that works, stays, and takes everything away again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import unimsg
from unimsg.testing import LAUNCHERS

from .looking import LONG, alive, send, until

kinds = pytest.mark.parametrize("kind", sorted(LAUNCHERS))


@contextmanager
def up(*arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command until it has printed its URL; give both. Temporary folders are made in `folder`."""
    command = [sys.executable, "-W", "error", "-m", "unimsg.cli", "testing", "up", *arguments]
    env = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=LONG)


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose current folder is below this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if str((entry / "cwd").readlink()).startswith(str(folder)) and alive(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@kinds
async def test_the_url_works_and_nothing_is_left(kind: str, tmp_path: Path) -> None:
    with up(kind, folder=tmp_path) as (process, url):
        async with unimsg.connect(url) as connection, connection.consumer(unimsg.Queue("q")) as consumer:
            await send(connection, unimsg.Queue("q"), "hello")
            message = await consumer.receive(timeout=LONG)
        assert message is not None
        assert message.body == "hello"
        assert urlsplit(url).username == "alice"
        assert processes_in(tmp_path)

        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)

    assert (process.returncode, out) == (0, "")
    assert f"starting {kind}\n" in err
    assert str(urlsplit(url).password) not in err
    until(lambda: processes_in(tmp_path) == [], "gone")
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_a_folder_keeps_accounts_and_messages(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    with up("prosody", "--folder", str(folder), "--user", "trader", folder=tmp_path) as (_, url):
        first = urlsplit(url)
        async with unimsg.connect(url) as connection:
            await send(connection, unimsg.Queue("q"), "kept")

    with up("prosody", "--folder", str(folder), "--user", "trader", folder=tmp_path) as (_, url):
        async with unimsg.connect(url) as connection, connection.consumer(unimsg.Queue("q")) as consumer:
            message = await consumer.receive(timeout=LONG)
    assert message is not None
    assert message.body == "kept"
    assert (urlsplit(url).username, urlsplit(url).password) == (first.username, first.password)

    with up("prosody", "--folder", str(folder), "--user", "trader", "--password", "another", folder=tmp_path) as (process, url):
        assert url == ""
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 3
    assert "'trader' has another password" in err
    assert "another\n" not in err


def test_a_server_that_dies_is_told_and_everything_goes(tmp_path: Path) -> None:
    with up("prosody", folder=tmp_path) as (process, url):
        ca = Path(parse_qs(urlsplit(url).query)["ca"][0])
        os.kill(int((ca.parent / "prosody.pid").read_text()), signal.SIGKILL)
        _, err = process.communicate(timeout=LONG)

    assert process.returncode == 1
    assert "ended by itself; the end of its log:" in err
    until(lambda: processes_in(tmp_path) == [], "gone")
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_a_kind_that_there_is_not(tmp_path: Path) -> None:
    with up("kermit", folder=tmp_path) as (process, url):
        assert url == ""
        _, err = process.communicate(timeout=LONG)

    assert process.returncode == 2
    assert "invalid choice: 'kermit'" in err


def test_the_help_knows_every_recipe() -> None:
    from unimsg.cli.testing import KINDS
    from unimsg.testing.up import RECIPES

    assert set(KINDS) == set(RECIPES)
