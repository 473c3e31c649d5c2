"""Real servers start, restart and end, and leave nothing behind."""

from __future__ import annotations

import socket
import ssl
import uuid

import pytest

from unimsg.errors import SecurityError
from unimsg.testing import Server


def test_its_ports_answer_and_its_certificate_is_good(xmpp_server: Server) -> None:
    context = ssl.create_default_context(cafile=str(xmpp_server.ca))

    with socket.create_connection((xmpp_server.host, xmpp_server.tls_port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as stream:
        assert stream.version() == "TLSv1.3"


def test_an_account_is_made_once(xmpp_server: Server) -> None:
    name = uuid.uuid4().hex
    xmpp_server.add_user(name, "a<b&c")

    with pytest.raises(SecurityError, match=f"no account {name!r}: conflict"):
        xmpp_server.add_user(name, "another")
