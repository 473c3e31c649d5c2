"""Real servers start, restart and end, listen where nobody else can, and leave nothing behind."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from unimsg.errors import ConnectionFailedError, IllegalStateError, InvalidURLError, SecurityError
from unimsg.testing import LAUNCHERS, BrokerMissingError, Server
from unimsg.testing.ports import HOST, free_ports

from .looking import alive, listening, until
from .xml_streams import features, handshake

kinds = pytest.mark.parametrize("kind", sorted(LAUNCHERS))


def test_its_certificate_is_good(xmpp_server: Server) -> None:
    context = ssl.create_default_context(cafile=str(xmpp_server.ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT

    with socket.create_connection((xmpp_server.host, xmpp_server.tls_port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as stream:
        assert stream.version() == "TLSv1.3"


def test_it_listens_on_the_loopback_interface_only(xmpp_server: Server) -> None:
    ports = {xmpp_server.port, xmpp_server.tls_port, *xmpp_server.component_ports.values()}

    assert listening(xmpp_server.pid) == {f"0100007F:{port:04X}" for port in ports}


def test_an_account_is_made_once(xmpp_server: Server) -> None:
    name = uuid.uuid4().hex
    xmpp_server.add_user(name, "a<b&c")

    with pytest.raises(SecurityError, match=f"no account {name!r}: conflict"):
        xmpp_server.add_user(name, "another")
    xmpp_server.add_users([(name, "another")], keep=True)


def test_services_may_connect_under_their_names_with_the_secret(xmpp_server: Server) -> None:
    assert handshake(xmpp_server, "other3", xmpp_server.component_secret).endswith(("<handshake/>", "<handshake></handshake>"))
    assert "not-authorized" in handshake(xmpp_server, "other3", "no secret")


def test_nothing_tells_a_secret(xmpp_server: Server) -> None:
    assert xmpp_server.component_secret not in repr(xmpp_server)


def test_urls(xmpp_server: Server) -> None:
    secret, port = xmpp_server.component_secret, xmpp_server.component_ports["other1"]

    assert xmpp_server.url("bob", "a b/c", ca=None) == f"xmpp://bob:a%20b%2Fc@localhost?host=127.0.0.1&port={xmpp_server.port}"
    assert xmpp_server.url().endswith(f"&ca={xmpp_server.ca}")
    assert xmpp_server.component_url("other1") == f"xmpp://:{secret}@other1.localhost?host=127.0.0.1&port={port}"


@kinds
def test_a_life(kind: str) -> None:
    server = LAUNCHERS[kind](users=["alice"]).start()
    first, folder, ports = server.pid, server.folder, (server.port, server.tls_port, server.component_port)
    with pytest.raises(IllegalStateError, match="is running already"):
        server.start()

    server.restart()

    assert not alive(first)
    assert (server.folder, (server.port, server.tls_port, server.component_port)) == (folder, ports)
    with pytest.raises(SecurityError, match="conflict"):
        server.add_user("alice")
    server.add_user("bob")

    second = server.pid
    server.kill()
    assert not server.running
    assert not alive(second)
    server.start()

    with pytest.raises(SecurityError, match="conflict"):
        server.add_user("bob")
    third = server.pid
    server.stop()
    server.stop()
    assert not alive(third)
    assert not folder.exists()


@kinds
def test_a_folder_that_was_given_stays_and_can_be_used_again(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    for _ in range(2):
        with LAUNCHERS[kind](folder, users=["alice"]) as server:
            assert server.folder == folder
    assert (folder / "server.log").stat().st_size > 0


@kinds
def test_a_port_that_is_taken_at_the_start_is_replaced(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as taken:
        offers = [[*free_ports(2), taken.getsockname()[1]]]
        monkeypatch.setattr("unimsg.testing.server.free_ports", lambda count: offers.pop() if offers else free_ports(count))

        with LAUNCHERS[kind](users=["alice"]) as server:
            assert server.component_port != taken.getsockname()[1]
            assert not offers


@kinds
def test_a_port_that_is_taken_at_a_restart_is_an_error(kind: str) -> None:
    with LAUNCHERS[kind](users=[]) as server:
        server.kill()
        with socket.create_server((HOST, server.port)), pytest.raises(ConnectionFailedError, match=rf"was taken meanwhile.*\b{server.port}\b"):
            server.start()
        assert not server.running


@kinds
def test_login_in_the_clear_can_be_forbidden(kind: str) -> None:
    with LAUNCHERS[kind](tls_required=True, users=["alice"]) as server:
        said = features(server)
        assert "<starttls" in said
        assert "<mechanism" not in said


@kinds
def test_no_broker_installed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimsg.testing.missing.shutil.which", lambda *_, **__: None)

    with pytest.raises(BrokerMissingError, match=rf"is not installed: say `make brokers`, or `apt-get install .*{kind}"):
        LAUNCHERS[kind]().start()


@kinds
def test_a_server_that_does_not_come_up_says_why_and_leaves_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []

    def broken(server: Server) -> tuple[list[str], dict[str, str]]:
        folders.append(server.folder)
        return [sys.executable, "-c", "import sys; sys.exit('the moon is in the wrong house')"], {}

    monkeypatch.setattr(LAUNCHERS[kind], "configure", broken)

    with pytest.raises(ConnectionFailedError, match=f"{kind} did not start.*\n.*the moon is in the wrong house"):
        LAUNCHERS[kind]().start()
    assert [folder.exists() for folder in folders] == [False]


@kinds
def test_options_that_make_no_sense(kind: str) -> None:
    with pytest.raises(InvalidURLError, match="limits is one of open, stock, not 'none'"):
        LAUNCHERS[kind](limits="none")
    with pytest.raises(IllegalStateError, match="was not started"):
        _ = LAUNCHERS[kind]().ca


PARENT = """
import sys, time
from unimsg.testing import LAUNCHERS
server = LAUNCHERS[sys.argv[1]](users=()).start()
print(server.pid, server.folder, flush=True)
time.sleep(600)
"""


@kinds
def test_a_server_does_not_outlive_a_program_that_is_killed(kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, kind], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert alive(int(pid))

        parent.kill()

        until(lambda: not alive(int(pid)), "ended")
        until(lambda: not Path(folder).exists(), "removed")


@pytest.mark.parametrize("storage", ["internal", "memory", "sql"])
@pytest.mark.parametrize("limits", ["open", "stock"])
@kinds
def test_each_way_to_configure_it_is_one_that_it_takes(kind: str, limits: str, storage: str) -> None:
    with LAUNCHERS[kind](limits=limits, pubsub_storage=storage, max_stanza=50_000, node_creators=["alice"], users=["alice"]) as server:
        said = server.log.read_text()
        assert re.findall(r".*(?:\[error\]| error\t| warn\t|\[warning\]).*", said) == []
