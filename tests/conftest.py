"""What all tests share: a URL of each embedded backend, fresh for each test, and connections to it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import unimsg

BACKENDS = ("memory", "sqlite")


def fresh_url(scheme: str, folder: Path) -> str:
    """Return the URL of a broker that nobody else uses."""
    return f"memory://{uuid.uuid4().hex}" if scheme == "memory" else f"sqlite:///{folder / 'broker.db'}"


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a broker of its own, once for each embedded backend."""
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
