"""Trees of all known data sets, and configs that name no more than a data set and its folder."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import read_config

# `trees` is within reach of the tests.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of CoOp's data folder, in small; a test that takes something away brings it back."""
    from trees import make_all

    root = tmp_path_factory.mktemp("data")
    make_all(root)
    return root


@pytest.fixture
def read_section(tmp_path: Path) -> Callable[..., RunConfig]:
    """Reads a config file of those lines in its [data]."""

    def read(*lines: str) -> RunConfig:
        path = tmp_path / "run.toml"
        text = ('folder = "run"', "[data]", *lines, "[teacher]", 'model = "ViT-L-14"', 'pretrained = "openai"')
        path.write_text("\n".join(text))
        return read_config(path)

    return read


@pytest.fixture
def without(tmp_path: Path) -> Callable[[Path], object]:
    """Takes a file or a folder away for a while."""

    @contextmanager
    def without(path: Path) -> Iterator[None]:
        kept = path.with_name(f".away-{path.name}")
        path.rename(kept)
        try:
            yield
        finally:
            kept.rename(path)

    return without
