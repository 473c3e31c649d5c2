"""What all tests share: a URL of each embedded backend, fresh for each test, connections to it, and real XMPP servers."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import unimsg
from unimsg.testing import LAUNCHERS, BrokerMissingError, Server, Service

from .services import Hall

BACKENDS = ("memory", "sqlite", "prosody", "ejabberd")
"""Where everything that an application can do is tested: two embedded doors, and the XMPP service on two servers."""


def fresh_url(scheme: str, folder: Path) -> str:
    """Return the URL of a broker that nobody else uses."""
    return f"memory://{uuid.uuid4().hex}" if scheme == "memory" else f"sqlite:///{folder / 'broker.db'}"


@pytest.fixture(scope="session")
def hall() -> Iterator[Hall]:
    """Give the thread in which the services of single tests run."""
    hall = Hall()
    yield hall
    hall.close()


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a broker of its own, once for each backend."""
    if request.param in LAUNCHERS:
        with request.getfixturevalue("hall").service(request.getfixturevalue(request.param)) as url:
            yield url
    else:
        yield fresh_url(request.param, tmp_path)


@pytest.fixture(params=["memory", "sqlite"])
def embedded_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an embedded broker of its own, for what only its doors promise."""
    return fresh_url(request.param, tmp_path)


@pytest.fixture
def memory_url(tmp_path: Path) -> str:
    """Give the URL of a memory broker of its own, for what does not depend on the backend."""
    return fresh_url("memory", tmp_path)


@pytest.fixture
async def connection(url: str) -> AsyncIterator[unimsg.Connection]:
    """Give a connection to a broker of its own."""
    async with unimsg.connect(url) as connection:
        yield connection


def started(kind: str) -> Server:
    """Start a server; one that is not installed is a failure where brokers are required (CI, `make test`), else a skip that says so."""
    try:
        return LAUNCHERS[kind]().start()
    except BrokerMissingError as error:
        if os.environ.get("CI") or os.environ.get("UNIMSG_REQUIRE_BROKERS") == "1":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def prosody() -> Iterator[Server]:
    """Give a Prosody that all tests of this run share: names must be a test's own."""
    server = started("prosody")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def ejabberd() -> Iterator[Server]:
    """Give an ejabberd that all tests of this run share: names must be a test's own."""
    server = started("ejabberd")
    yield server
    server.stop()


@pytest.fixture(scope="session", params=sorted(LAUNCHERS))
def xmpp_server(request: pytest.FixtureRequest) -> Server:
    """Give each of the two shared servers in turn."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def xmpp_service(xmpp_server: Server) -> Iterator[Service]:
    """Give the service on the shared server, over SQLite, shared by all tests."""
    with Service(xmpp_server) as service:
        yield service


@pytest.fixture
def xmpp_url(xmpp_service: Service) -> str:
    """Give a URL for alice, with the shared service behind it."""
    return xmpp_service.url("alice")
