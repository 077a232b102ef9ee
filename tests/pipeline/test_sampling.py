from typing import Any

import numpy as np
import pytest

from fdbpl.pipeline.training.sampling import Sampler, epoch_order, steps_per_epoch

# Of two images with four crops each: the teacher knows one crop of the first, and nothing of the second.
WEIGHTS = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)


def sampler(policy: Any, **changes: Any) -> Sampler:
    return Sampler(**{"policy": policy, "num_images": 10, "num_seeds": 3, "num_epochs": 8, "seed": 1, **changes})


def many(policy: Any, **changes: Any) -> Sampler:
    """A thousand times the two images."""
    weights = np.tile(WEIGHTS, (1000, 1))
    return sampler(policy, num_images=2000, num_seeds=4, weights_MS=weights, **changes)


def shares(seeds_M: np.ndarray) -> list[float]:
    return [float((seeds_M == seed).mean()) for seed in range(4)]


def test_an_epoch_sees_each_image_once_and_drops_an_incomplete_batch() -> None:
    found = epoch_order(sampler("cycle"), 0, 4)
    assert len(set(found.tolist())) == len(found) == 8
    assert steps_per_epoch(10, 4) == 2


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    def order(epoch: int, seed: int) -> list[int]:
        return epoch_order(sampler("cycle", seed=seed), epoch, 4).tolist()

    assert order(5, 1) == order(5, 1)
    assert order(5, 1) != order(6, 1)
    assert order(5, 1) != order(5, 2)


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    assert steps_per_epoch(10, 64) == 1


def test_the_crop_seed_cycles_with_the_epoch() -> None:
    assert [set(sampler("cycle").epoch(number).seeds_M.tolist()) for number in range(4)] == [{0}, {1}, {2}, {0}]


@pytest.mark.parametrize("policy", ["random", "informative", "curriculum"])
def test_a_draw_follows_from_seed_and_epoch_alone(policy: str) -> None:
    weights = np.random.default_rng(0).uniform(size=(10, 3)).astype(np.float32)

    def drawn(epoch: int, seed: int) -> list[int]:
        return sampler(policy, weights_MS=weights, seed=seed).epoch(epoch).seeds_M.tolist()

    assert drawn(5, 1) == drawn(5, 1)
    assert drawn(5, 1) != drawn(6, 1)
    assert drawn(5, 1) != drawn(5, 2)


def test_random_views_are_even() -> None:
    assert shares(many("random").epoch(3).seeds_M) == pytest.approx([0.25] * 4, abs=0.03)


def test_informative_views_are_in_proportion_to_the_weights_but_for_a_tenth() -> None:
    seeds_M = many("informative").epoch(0).seeds_M
    assert shares(seeds_M[::2]) == pytest.approx([0.025, 0.925, 0.025, 0.025], abs=0.02)
    # Of an image of which the teacher knows nothing all crops are alike.
    assert shares(seeds_M[1::2]) == pytest.approx([0.25] * 4, abs=0.05)


def test_importance_makes_the_expected_loss_that_of_even_draws() -> None:
    sampled = many("informative", importance=True)
    losses = np.array([5.0, 1.0, 3.0, 2.0])
    means = []
    for number in range(40):
        views = sampled.epoch(number)
        assert views.importance_M is not None and views.importance_M.max() <= 10.001
        means.append((losses[views.seeds_M[::2]] * views.importance_M[::2]).mean())
    assert np.mean(means) == pytest.approx(losses.mean(), abs=0.06)
    assert losses[many("informative").epoch(0).seeds_M[::2]].mean() < 1.5  # without it the loss is another one


def test_a_curriculum_goes_from_informative_views_to_all() -> None:
    sampled = many("curriculum")
    known = [shares(sampled.epoch(number).seeds_M[::2])[1] for number in range(6)]
    assert known == pytest.approx([0.925, 0.8125, 0.625, 0.4375, 0.25, 0.25], abs=0.04)
