"""Pixels in full batches, made ahead in another thread; and rows that do not depend on who shared their batch."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.loading.batches import DEPTH, filled_up, made_ahead, pixel_batches
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow


def block(num_images: int, num_seeds: int) -> Block:
    return Block(images=range(5, 5 + num_images), seeds=range(2, 2 + num_seeds), image_block=0, seed_block=0)


class Cutter:
    """Pixels that tell their view, and how many views were asked for at a time and ahead."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[str] = set()

    def __call__(self, views: tuple[np.ndarray, np.ndarray]) -> Tensor:
        images_V, seeds_V = views
        self.sizes.append(len(images_V))
        self.threads.add(threading.current_thread().name)
        pixels = torch.zeros(len(images_V), 3, 1, 1, dtype=torch.uint8)
        pixels[:, 0, 0, 0] = torch.from_numpy(images_V).to(torch.uint8)
        pixels[:, 1, 0, 0] = torch.from_numpy(seeds_V).to(torch.uint8)
        return pixels


@pytest.mark.parametrize(
    ("num_images", "num_seeds", "batch_size"),
    [(7, 3, 8), (4, 4, 8), (3, 16, 16), (5, 10, 4), (1, 1, 4), (2, 50, 7), (9, 1, 2)],
)
def test_every_view_comes_once_in_order_in_full_batches(num_images: int, num_seeds: int, batch_size: int) -> None:
    cut = Cutter()
    batches = list(pixel_batches(block(num_images, num_seeds), batch_size, cut))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    found = [(int(view[0, 0, 0]), int(view[1, 0, 0])) for batch in batches for view in batch]
    assert found == [(5 + image, 2 + seed) for image in range(num_images) for seed in range(num_seeds)]
    assert max(cut.sizes) <= batch_size
    assert threading.current_thread().name not in cut.threads


def test_no_more_is_made_ahead_than_said() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    results = made_ahead(range(100), make, DEPTH)
    for number in range(20):
        assert next(results) == number
        assert len(made) <= number + DEPTH + 2
    results.close()
    assert len(made) < 30
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fdbpl-ahead")]


def test_an_error_comes_where_it_belongs() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise OSError("no such image")
        return number

    results = made_ahead(range(10), make, DEPTH)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="no such image"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fdbpl-ahead")]


def test_a_short_batch_is_filled_up_by_its_last_view() -> None:
    pixels = torch.arange(6, dtype=torch.uint8).reshape(2, 3, 1, 1)
    assert filled_up(pixels, 4).flatten(1).tolist() == [[0, 1, 2], [3, 4, 5], [3, 4, 5], [3, 4, 5]]
    assert filled_up(pixels, 2) is pixels


def test_a_row_does_not_depend_on_the_block_it_was_made_in(taught: RunConfig, make_config: Callable[..., Any]) -> None:
    """Blocks of 48 and of 20 images: other neighbours, other last batches, the same bits."""
    config = make_config(store={"images_per_block": 20, "seeds_per_block": 2})
    with Workflow(config, Ui(quiet=True), command="fdbpl teach") as workflow:
        workflow.teach()
    images, seeds = np.repeat(np.arange(128), 4), np.tile(np.arange(4), 128)
    with open_reader(config.store.path) as ours, open_reader(taught.store.path) as theirs:
        for name in ("crop/box", "teacher/embedding", "teacher/logits"):
            assert np.array_equal(ours.read(name, images, seeds), theirs.read(name, images, seeds)), name
