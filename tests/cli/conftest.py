"""A broker that processes share, for the command's tests."""

from pathlib import Path

import pytest


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """Give the URL of a file of its own."""
    return f"sqlite:///{tmp_path / 'broker.db'}"
