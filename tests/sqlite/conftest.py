"""What the tests of sqlite:/// share: a file, drivers on it, and frames."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from unimsg.driver import Identity
from unimsg.registry import URL
from unimsg_embedded import SqliteDriver

Connect = Callable[..., Awaitable[SqliteDriver]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a file that is not there yet."""
    return tmp_path / "broker.db"


@pytest.fixture
async def connect(path: Path) -> AsyncIterator[Connect]:
    """Give a function that opens a driver on the file; all are closed at the end."""
    opened: list[SqliteDriver] = []

    async def connect(client_id: str | None = None, options: str = "", at: Path = path, lost: Callable[[BaseException], Any] = print) -> SqliteDriver:
        driver = SqliteDriver(URL(f"sqlite:///{at}{options}"), Identity(uuid.uuid4().hex, client_id))
        await driver.open(lost)
        opened.append(driver)
        return driver

    yield connect
    for driver in opened:
        await driver.close()
