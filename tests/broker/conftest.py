"""A broker over each store, for every test of the rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .desk import STORES, Desk


@pytest.fixture(params=STORES)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Give a broker of its own."""
    store = STORES[request.param](tmp_path)
    yield Desk(store)
    with suppress(AttributeError):
        store.close()
