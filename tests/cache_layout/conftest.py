"""Puts `store_example` within reach of the tests and of the processes that they start."""

from __future__ import annotations

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
    """A file system of its own with 1.5 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    answer = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1536k", "fdbpl-test", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        pytest.skip(f"no file system can be mounted here: {answer.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
