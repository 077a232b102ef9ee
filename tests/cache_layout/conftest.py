"""Puts `store_example` within reach of the tests and of the processes that they start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed store that was written in one go; not to be changed."""
    from store_example import finish

    path = tmp_path_factory.mktemp("undisturbed") / "store"
    finish(path)
    return path


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed store of the test's own."""
    from store_example import finish

    path = tmp_path / "store"
    finish(path)
    return path
