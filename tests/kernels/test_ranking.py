import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.kernels.ranking import difference_ranking


def double_loop(
    features: np.ndarray, differences: np.ndarray, labels: np.ndarray, weights: np.ndarray, margin: float
) -> float:
    """The definition, pair by pair, in float64: v = d_a - d_b for labels a < b."""
    total, pairs = 0.0, 0
    for i in range(len(labels)):
        for j in range(len(labels)):
            if labels[i] < labels[j]:
                v = differences[labels[i]] - differences[labels[j]]
                total += weights[i] * weights[j] * max(0.0, features[j] @ v - features[i] @ v + margin)
                pairs += 1
    return total / max(pairs, 1)


@settings(max_examples=40, deadline=None)
@given(
    num_examples=st.integers(1, 12),
    num_classes=st.integers(1, 6),
    width=st.integers(1, 9),
    margin=st.sampled_from([0.0, 0.2, 3.0]),
    seed=st.integers(0, 10_000),
)
def test_closed_form_is_the_double_loop(
    num_examples: int, num_classes: int, width: int, margin: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_examples, width))
    differences = rng.normal(size=(num_classes, width))
    labels = rng.integers(num_classes, size=num_examples)
    weights = rng.uniform(size=num_examples)
    found = difference_ranking(*map(torch.from_numpy, (features, differences, labels, weights)), margin)
    expected = double_loop(features, differences, labels, weights, margin)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_gradient_reaches_features_and_differences() -> None:
    features = torch.eye(2, dtype=torch.float64, requires_grad=True)
    differences = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    difference_ranking(features, differences, torch.tensor([0, 1]), torch.tensor([1.0, 0.5])).backward()
    # One pair of weight 0.5; the hinge is open, so d/dd_0 = -0.5 (f_0 - f_1).
    assert differences.grad is not None
    assert differences.grad.tolist() == [[-0.5, 0.5], [0.5, -0.5]]
    assert features.grad is not None and features.grad.abs().sum() == 0


def test_like_labels_rank_nothing() -> None:
    value = difference_ranking(torch.randn(3, 4), torch.randn(2, 4), torch.tensor([1, 1, 1]), torch.ones(3))
    assert value.item() == 0.0


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one label and one weight"):
        difference_ranking(torch.zeros(3, 4), torch.zeros(2, 4), torch.zeros(2, dtype=torch.long), torch.ones(3))
    with pytest.raises(ValueError, match="width"):
        difference_ranking(torch.zeros(3, 4), torch.zeros(2, 5), torch.zeros(3, dtype=torch.long), torch.ones(3))
