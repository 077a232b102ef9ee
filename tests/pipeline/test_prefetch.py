"""What of an epoch is asked for as whole planes, and what row by row."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.loading.prefetch import prefetch_views


@dataclass
class Asked:
    """Stands for a reader of 16 images under four seeds."""

    num_images: int = 16
    num_seeds: int = 4
    planes: list[int] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)

    def prefetch(self, array: str, seed: int) -> None:
        self.planes.append(seed)

    def prefetch_rows(self, array: str, images_B: np.ndarray, seeds_B: np.ndarray) -> None:
        self.rows += zip(seeds_B.tolist(), images_B.tolist(), strict=True)


def asked_for(images: list[int], seeds: list[int]) -> Asked:
    reader = Asked()
    prefetch_views(cast(Reader, reader), ["teacher/logits"], np.array(images), np.array(seeds))
    return reader


@pytest.mark.parametrize(
    ("images", "seeds", "planes", "rows"),
    [
        ([5, 3, 9], [2, 2, 2], [2], []),
        ([5, 3], [2, 2], [], [(2, 3), (2, 5)]),
        ([5, 3, 9, 1], [2, 1, 0, 1], [], [(0, 9), (1, 1), (1, 3), (2, 5)]),
        ([5, 3, 9, 1, 1], [2, 2, 2, 0, 3], [2], [(0, 1), (3, 1)]),
        ([5, 3, 5, 3, 5, 3], [2, 2, 2, 2, 2, 2], [], [(2, 3), (2, 5)]),
        ([*range(16)] * 2, [1] * 16 + [3] * 16, [1, 3], []),
    ],
    ids=["plane", "few", "mixed", "both", "two students of the same views", "two students of a seed each"],
)
def test_planes_of_seeds_that_many_images_are_under_and_rows_of_the_others(
    images: list[int], seeds: list[int], planes: list[int], rows: list[tuple[int, int]]
) -> None:
    found = asked_for(images, seeds)
    assert found.planes == planes
    assert found.rows == rows, "each once, in the order of the files"
