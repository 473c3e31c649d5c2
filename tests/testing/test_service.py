"""The service beside a server starts, is killed, and keeps what it was given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import unimsg
from unimsg.errors import ConnectionFailedError, IllegalStateError
from unimsg.testing import Server, Service

from .looking import alive, send


@pytest.fixture
def service(xmpp_server: Server) -> Iterator[Service]:
    """Give a service of the test's own, not started."""
    service = Service(xmpp_server, component="other2")
    yield service
    service.stop()


async def test_messages_stay_when_the_service_is_killed(service: Service) -> None:
    queue = unimsg.Queue(f"killed.{service.server.kind}")
    service.start()
    first = service.pid
    async with unimsg.connect(service.url("alice")) as connection:
        await send(connection, queue, "still here")

    assert service.kill() == 137
    assert not service.running
    assert not alive(first)
    service.start()

    async with unimsg.connect(service.url("bob")) as connection, connection.consumer(queue) as consumer:
        message = await consumer.receive(timeout=20)
    assert message is not None
    assert message.body == "still here"


def test_a_life(service: Service) -> None:
    assert service.stop() == 0
    with pytest.raises(IllegalStateError, match="is not running"):
        _ = service.pid
    service.start()
    first = service.pid
    with pytest.raises(IllegalStateError, match="is running already"):
        service.start()
    assert service.jid == "other2.localhost"

    service.restart()

    assert not alive(first)
    assert alive(service.pid)
    assert service.stop() == 0


def test_the_secret_is_in_no_command_line(service: Service) -> None:
    from pathlib import Path

    service.start()

    assert service.server.component_secret.encode() not in Path(f"/proc/{service.pid}/cmdline").read_bytes()


def test_a_service_that_does_not_start_says_why(xmpp_server: Server) -> None:
    service = Service(xmpp_server, component="other4", arguments=["--no-such-option"])

    with pytest.raises(ConnectionFailedError, match=r"other4\.localhost did not start:\n(.*\n)*.*unrecognized arguments: --no-such-option"):
        service.start()
    assert not service.running
