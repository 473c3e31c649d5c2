"""Exit codes, Ctrl-C, a reader that goes away, terminals, passwords: how the command behaves among other programs."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unimsg.cli.command import parser

from .command import COMMAND, called, environment, start, unimsg

VERBS = re.findall(r"^    ([a-z]+)  ", parser().format_help(), re.MULTILINE)


@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)], ids=lambda words: " ".join(words) or "top")
def test_help_teaches_by_examples(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = called(capsys, *verb, "--help")
    assert (said.code, said.err) == (0, "")
    assert "examples:\n" in said.out
    assert "exit codes:" in said.out
    assert f"  unimsg {verb[0] if verb else 'publish'}" in said.out.partition("examples:")[2]


def test_the_verbs() -> None:
    assert VERBS == ["publish", "listen", "request", "browse", "list", "purge", "delete", "doctor", "serve", "testing", "backends", "demo"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["publish", "orders", "x"], "queue:NAME"),
        (["publish", "queue:orders"], "which broker?"),
        (["publish", "queue:q", "x", "-u", "carrier-pigeon://x"], "carrier-pigeon"),
        (["publish", "queue:q", "x", "-u", "memory://?pigeon=1"], "pigeon"),
        (["publish", "queue:q", "x", "-u", "memory://", "-p", "price"], "NAME=VALUE"),
        (["publish", "queue:q", "x", "-u", "memory://", "-p", "price:money=3"], "'money' is no type"),
        (["publish", "queue:q", "x", "-u", "memory://", "-p", "lot:int=3000000000"], "Int holds"),
        (["publish", "queue:q", "x", "-u", "memory://", "-p", "a-b=3"], "identifier"),
        (["publish", "queue:q", "x", "-u", "memory://", "--priority", "11"], "priority"),
        (["publish", "queue:q", "x", "-u", "memory://", "--ttl", "soon"], "number of seconds"),
        (["publish", "queue:q", "x", "y", "-u", "memory://", "--message-id", "ID:1"], "one message"),
        (["publish", "queue:q", "{", "-u", "memory://", "--format", "json"], "no JSON"),
        (["publish", "topic:a.*", "x", "-u", "memory://"], "pattern"),
        (["listen", "queue:q", "-u", "memory://", "-s", "price >"], "selector"),
        (["listen", "queue:q", "-u", "memory://", "--count", "0"], "number from 1"),
        (["listen", "topic:t", "-u", "memory://", "--durable"], "subscription"),
        (["listen", "topic:t", "-u", "memory://", "--durable", "--subscription", "s"], "client"),
        (["browse", "topic:t", "-u", "memory://"], "Queue"),
        (["delete", "-u", "memory://"], "delete what?"),
        (["request", "queue:q", "a", "b", "-u", "memory://"], "one body"),
        (["lisen", "queue:q"], "invalid choice"),
        (["publish", "queue:q", "x", "--tpye", "order"], "--tpye"),
        (["list", "queue:q"], "unrecognized arguments"),
        ([], "VERB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNIMSG_URL", raising=False)
    said = called(capsys, *arguments)
    assert (said.code, said.out) == (2, ""), said.err
    assert says in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["a", "--quiet", "b"], ["a", "b"]),
        (["--quiet", "a", "b"], ["a", "b"]),
        (["a", "b", "--quiet"], ["a", "b"]),
        (["--quiet", "--", "--type", "-x"], ["--type", "-x"]),
        (["a", "--quiet", "--", "-x"], ["a", "-x"]),
        (["--quiet", "-5"], ["-5"]),
        (["--quiet", ""], [""]),
    ],
    ids=str,
)
def test_bodies_may_stand_anywhere(shared: str, words: list[str], sent: list[str]) -> None:
    said = unimsg("publish", "queue:q", *words, url=shared)
    assert (said.code, said.out, said.err) == (0, "", "")
    assert [record["body"] for record in unimsg("browse", "queue:q", url=shared).records] == sent


def test_a_line_that_is_no_text_is_named_and_the_others_are_sent(shared: str) -> None:
    said = unimsg("publish", "queue:q", url=shared, stdin=b"good\n\xff\xfe\nnever read\n")
    assert said.code == 2
    assert "line 2 of the standard input" in said.err
    assert [record["id"] for record in said.records] == [record["id"] for record in unimsg("browse", "queue:q", url=shared).records]
    assert len(said.records) == 1


def test_no_connection_is_code_3(tmp_path: Path) -> None:
    said = unimsg("list", "--url", f"sqlite:///{tmp_path}/there/is/no/folder.db")
    assert (said.code, said.out) == (3, "")
    assert "folder" in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--url", "pigeon://me:s3cret@host/x"],
        ["list", "--url", "memory://me:s3cret@host/x?pigeon=1"],
        ["list", "--ur", "memory://me:s3cret@host/x"],
        ["publish", "queue:q", "x", "--count", "memory://me:s3cret@host"],
        ["list", "memory://me:s3cret@host/x"],
        ["listen", "queue:q", "--count", "memory://me:s3cret@host/x"],
        ["publish", "memory://me:s3cret@host/x", "x"],
        ["doctor", "pigeon://me:s3cret@host/x"],
        ["demo", "--url", "pigeon://me:s3cret@host/x"],
    ],
    ids=" ".join,
)
def test_a_password_is_never_printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = called(capsys, *arguments)
    assert said.code != 0
    assert "s3cret" not in said.out + said.err


def test_ctrl_c_ends_quietly_and_gives_back_what_was_not_printed(shared: str) -> None:
    listener = start(["listen", "queue:q", "--mode", "client"], shared)
    assert listener.stdout is not None
    unimsg("publish", "queue:q", "a", "b", url=shared)
    assert json.loads(listener.stdout.readline())["body"] == "a"
    listener.send_signal(signal.SIGINT)
    _, err = listener.communicate(timeout=30)
    assert (listener.returncode, err) == (130, b"")
    got = unimsg("listen", "queue:q", "-n", "2", "-t", "20", url=shared).records
    assert [record["body"] for record in got] == ["a", "b"]
    assert got[0]["delivery_count"] > 1


def test_ctrl_c_does_not_wait_for_input(shared: str) -> None:
    writer = start(["publish", "queue:q"], shared)
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(b"handed over\n")
    writer.stdin.flush()
    assert json.loads(writer.stdout.readline())["destination"] == "queue:q"
    writer.send_signal(signal.SIGINT)
    assert writer.wait(timeout=30) == 130
    assert (writer.stdout.read(), writer.stderr.read() if writer.stderr else b"") == (b"", b"")
    writer.communicate()
    assert [record["body"] for record in unimsg("browse", "queue:q", url=shared).records] == ["handed over"]


def test_a_reader_that_has_had_enough(shared: str) -> None:
    """`| head -1`: no traceback, code 0, and what nobody read is still there."""
    unimsg("publish", "queue:q", "--quiet", url=shared, stdin=b"".join(b"%d %s\n" % (number, b"x" * 500) for number in range(1000)))
    listener = start(["listen", "queue:q"], shared)
    assert listener.stdout is not None
    assert listener.stderr is not None
    assert json.loads(listener.stdout.readline())["body"].startswith("0 ")
    listener.stdout.close()
    assert listener.wait(timeout=30) == 0
    assert listener.stderr.read() == b""
    listener.stderr.close()
    if listener.stdin is not None:
        listener.stdin.close()
    left = unimsg("listen", "queue:q", "-t", "0.3", "--mode", "client", url=shared).records
    assert int(left[-1]["body"].split()[0]) == 999
    numbers = [int(record["body"].split()[0]) for record in left]
    assert numbers == list(range(numbers[0], 1000))


def on_a_terminal(arguments: list[str], url: str, seconds: float = 40.0) -> tuple[int, str]:
    """Run the command with a real terminal for its output and return its code and what it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.STDOUT, env=environment(UNIMSG_URL=url))
    os.close(theirs)
    written, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline and select.select([ours], [], [], deadline - time.monotonic())[0]:
        try:
            found = os.read(ours, 65536)
        except OSError:
            break  # the other end is closed
        if not found:
            break
        written += found
    os.close(ours)
    return process.wait(timeout=10), written.decode()


def test_on_a_terminal_it_speaks_to_people(shared: str) -> None:
    unimsg("publish", "queue:q", "two lots", "-p", "symbol=VOD.L", "--type", "order", url=shared)
    code, said = on_a_terminal(["browse", "queue:q"], shared)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert code == 0
    assert plain != said, "colours on a terminal"
    assert "queue:q  order" in plain
    assert "symbol=VOD.L" in plain
    assert "  two lots" in plain
    assert "1 shown" in plain


def test_on_a_terminal_json_is_json(shared: str) -> None:
    unimsg("publish", "queue:q", "two lots", url=shared)
    code, said = on_a_terminal(["browse", "queue:q", "--json"], shared)
    assert (code, json.loads(said)["body"]) == (0, "two lots")


@pytest.mark.timeout(90)
def test_on_a_terminal_the_demo_is_alive(shared: str) -> None:
    code, said = on_a_terminal(["demo", "--url", shared, "--messages", "1500", "--seconds", "2"], shared, 80)
    assert code == 0, said
    assert said.count("unimsg demo: ") > 3, "the table is drawn again and again"
    assert "the recorder is killed with -9" in said
    assert "Counts equal the file's" in said
    assert '<envelope xmlns="urn:unimsg:1"' in said


@pytest.mark.parametrize("arguments", [["list"], ["backends"], ["browse", "queue:q"], ["demo", "--messages", "300", "--rate", "0"]], ids=" ".join)
def test_without_rich_it_still_speaks(shared: str, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ModuleNotFoundError('rich')\n")
    unimsg("publish", "queue:q", "two lots", url=shared)
    done = subprocess.run(
        [*COMMAND, *arguments, "--text"], capture_output=True, text=True, timeout=50, env=environment(UNIMSG_URL=shared, PYTHONPATH=str(tmp_path)), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) >= 2


def test_json_needs_no_rich(shared: str) -> None:
    program = f"import sys; from unimsg.cli import main; code = main(['list', '--json', '-u', {shared!r}]); assert 'rich' not in sys.modules; sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_small_encoding_is_no_end(shared: str) -> None:
    unimsg("publish", "queue:q", "株", url=shared)
    done = subprocess.run(
        [*COMMAND, "browse", "queue:q", "--text"], capture_output=True, timeout=30, env=environment(UNIMSG_URL=shared, PYTHONIOENCODING="ascii"), check=False
    )
    assert done.returncode == 0
    assert b"\\u682a" in done.stdout
