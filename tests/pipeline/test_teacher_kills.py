"""The store survives: a teacher pass killed at 20 random moments, then resumed, is bit-identical to one undisturbed."""

import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.labels.teach import prepare_store, teach_block

KILLS = 20


def files_of(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def whole_pass(config: RunConfig) -> None:
    """Every missing block, one after another, as tasks would, and the seal."""
    torch.set_num_threads(1)
    store = open_store(config.store.path)
    for block in store.missing_blocks(CAMPAIGN):
        teach_block(config, block.id, lambda done, total: None)
    seal(store.path, CAMPAIGN)


@pytest.mark.slow
def test_twenty_kills_leave_the_same_store(
    make_config: Callable[..., RunConfig], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    def config_in(name: str) -> RunConfig:
        config = make_config(store={"images_per_block": 16, "seeds_per_block": 2})
        store = config.store.model_copy(update={"path": tmp_path / name / "store.zarr"})
        return config.model_copy(update={"store": store})

    undisturbed, killed = config_in("undisturbed"), config_in("killed")
    prepare_store(undisturbed)
    prepare_store(killed)
    started = time.monotonic()
    whole_pass(undisturbed)
    lasted = time.monotonic() - started

    # Forked children share the loaded models, so that a kill falls into the pass and not into imports.
    context = get_context("fork")
    moments = random.Random(0)
    during = leftovers = 0
    for _ in range(KILLS):
        assert open_store(killed.store.path).missing_blocks(CAMPAIGN), "the pass was over before all kills were made"
        child = context.Process(target=whole_pass, args=(killed,))
        child.start()
        time.sleep(moments.uniform(0, lasted / 30))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        during += child.exitcode == -signal.SIGKILL
        leftovers += any(".tmp" in name for name in files_of(killed.store.path))
    missing = len(open_store(killed.store.path).missing_blocks(CAMPAIGN))
    whole_pass(killed)
    tell(f"\n{KILLS} kills, {during} during the pass, {leftovers} left a temporary file; {missing} blocks were missing")
    assert during == KILLS
    assert files_of(killed.store.path) == files_of(undisturbed.store.path)
