"""The generated rows."""

import numpy as np
import pytest

from fdbpl.pipeline.bench.data import Data


def test_blocks_and_planes_are_the_same_rows(data: Data) -> None:
    blocks = list(data.blocks())
    assert [images for images, _ in blocks] == [range(32), range(32, 64), range(64, 70)]
    rows_NSC = np.concatenate([rows for _, rows in blocks])
    assert rows_NSC.shape == (70, 4, 8)
    assert rows_NSC.dtype == np.dtype("<f2")
    for seed in range(4):
        np.testing.assert_array_equal(rows_NSC[:, seed], data.plane(seed))


def test_rows_are_finite_and_all_different(data: Data) -> None:
    rows = np.concatenate([data.plane(seed) for seed in range(4)])
    assert np.isfinite(rows).all()
    assert len(np.unique(rows, axis=0)) == 280


def test_rows_follow_from_the_numbers_alone(data: Data) -> None:
    again = Data(num_images=70, num_seeds=4, num_classes=8, seed=3)
    np.testing.assert_array_equal(data.plane(2), again.plane(2))
    other = Data(num_images=70, num_seeds=4, num_classes=8, seed=4)
    assert (data.plane(2) != other.plane(2)).any()


def test_each_process_has_views_of_its_own_in_range_and_more_than_a_cache_holds(data: Data) -> None:
    images, seeds = data.views(0)
    assert len(images) == len(seeds) == 1 << 20
    assert (images.min(), images.max(), seeds.min(), seeds.max()) == (0, 69, 0, 3)
    np.testing.assert_array_equal(images, data.views(0)[0])
    assert (images != data.views(1)[0]).any()


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="num_seeds: found 0"):
        Data(num_images=1, num_seeds=0, num_classes=1)
