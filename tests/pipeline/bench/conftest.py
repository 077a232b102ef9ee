"""Test data that the tests of the benchmark share: 70 images, so that the last block is not a whole one."""

from pathlib import Path

import pytest

from fdbpl.pipeline.bench import data as data_module
from fdbpl.pipeline.bench.data import Data


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.setattr(data_module, "IMAGES_PER_BLOCK", 32)
    monkeypatch.setattr(data_module, "SEEDS_PER_BLOCK", 3)
    return Data(num_images=70, num_seeds=4, num_classes=8, seed=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a name that careless quoting would break."""
    path = tmp_path / "bench data é"
    path.mkdir()
    return path
