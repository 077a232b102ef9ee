"""Puts `store_example` within reach of the tests and of the processes that they start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB of its own, so that it can be filled for real."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
