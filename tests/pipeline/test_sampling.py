import numpy as np

from fdbpl.pipeline.sampling import epoch_views, steps_per_epoch


def epoch(number: int, *, seed: int = 1, batch_size: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(epoch_views(num_images=10, num_seeds=3, epoch=number, seed=seed, batch_size=batch_size))


def test_an_epoch_sees_each_image_once_and_drops_an_incomplete_batch() -> None:
    batches = epoch(0)
    positions = np.concatenate([positions for positions, _ in batches])
    assert [len(positions) for positions, _ in batches] == [4, 4]
    assert len(set(positions.tolist())) == 8
    assert steps_per_epoch(10, 4) == 2


def test_the_crop_seed_cycles_with_the_epoch() -> None:
    assert [epoch(number)[0][1].tolist() for number in range(4)] == [[0] * 4, [1] * 4, [2] * 4, [0] * 4]


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    def order(number: int, seed: int) -> list[int]:
        return np.concatenate([positions for positions, _ in epoch(number, seed=seed)]).tolist()

    assert order(5, 1) == order(5, 1)
    assert order(5, 1) != order(6, 1)
    assert order(5, 1) != order(5, 2)


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    assert [len(positions) for positions, _ in epoch(0, batch_size=64)] == [10]
    assert steps_per_epoch(10, 64) == 1
