"""A client that knows the specification and no unimsg: plain slixmpp exchanges messages with us through the service."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

import unimsg
from tests.house.documents import ROOT
from unimsg import Queue
from unimsg.testing import Server, Service


def plain(server: Server, *arguments: str) -> list[str]:
    """Run the example as bob; return what it printed."""
    where = ["--host", server.host, "--port", str(server.port), "--ca", str(server.ca)]
    command = [sys.executable, str(ROOT / "examples" / "xmpp_plain_client.py"), "bob@localhost", "pw", *where, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


async def test_a_plain_client_and_ours_exchange_messages(xmpp_server: Server, xmpp_service: Service, xmpp_url: str) -> None:
    name = f"plain.{uuid.uuid4().hex}"
    service = ["--service", xmpp_service.jid, "--queue", name]
    assert plain(xmpp_server, *service, "--send", "two lots", "--send", "1 < 2 & 'so on'", "--receive", "2") == ["two lots", "1 < 2 & 'so on'"]

    async with unimsg.connect(xmpp_url) as connection, connection.producer(Queue(name)) as producer:
        await producer.send("ours", properties={"lot": 300})
        assert plain(xmpp_server, *service, "--receive", "1", "--send", "theirs") == ["ours"]
        async with connection.consumer(Queue(name)) as consumer:
            message = await consumer.receive(timeout=10)
            assert message is not None
            assert (message.body, message.delivery_count) == ("theirs", 1)
            assert await consumer.receive(timeout=0) is None, "what the plain client has acknowledged is gone"


def test_no_import_of_unimsg_in_it() -> None:
    text = (ROOT / "examples" / "xmpp_plain_client.py").read_text(encoding="utf-8")
    assert "import unimsg" not in text
    assert "from unimsg" not in text
    assert text.count("\n") < 100


pytestmark = pytest.mark.timeout(120)
