import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.kernels.ranking import difference_ranking, published_cascade


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


def cascade_loop(differences: np.ndarray, labels: np.ndarray) -> float:
    """The published loop: each ordered pair of classes in the batch, the mean over components of their difference."""
    present = sorted(set(labels.tolist()))
    return sum(float((differences[a] - differences[b]).mean()) for a in present for b in present if a != b)


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
    projections = torch.from_numpy(features @ differences.T).requires_grad_()
    found = difference_ranking(projections, torch.from_numpy(labels), torch.from_numpy(weights), margin)
    expected = double_loop(features, differences, labels, weights, margin)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    # The gradient along a random direction is the loop's slope (it is linear but for its kinks).
    found.backward()
    assert projections.grad is not None
    step = 1e-6 * rng.normal(size=differences.shape)
    slope = (projections.grad.numpy() * (features @ step.T)).sum()
    sides = [double_loop(features, differences + sign * step, labels, weights, margin) for sign in (1, -1)]
    assert slope == pytest.approx((sides[0] - sides[1]) / 2, rel=1e-2, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(num_examples=st.integers(1, 32), num_classes=st.integers(1, 50), seed=st.integers(0, 10_000))
def test_the_published_cascade_is_zero_with_all_its_gradients(num_examples: int, num_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.normal(size=(num_classes, 16))
    labels = rng.integers(num_classes, size=num_examples)
    assert abs(cascade_loop(differences, labels)) < 1e-12
    leaf = torch.from_numpy(differences).requires_grad_()
    value = published_cascade(leaf, torch.from_numpy(labels))
    value.backward()
    assert abs(value.item()) < 1e-4
    assert leaf.grad is not None and leaf.grad.abs().max() < 1e-5


def test_gradient_by_hand() -> None:
    projections = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    difference_ranking(projections, torch.tensor([0, 1]), torch.tensor([1.0, 0.5])).backward()
    # One pair of weight 0.5; the hinge is open, and falls as each lies further along its own class.
    assert projections.grad is not None
    assert projections.grad.tolist() == [[-0.5, 0.5], [0.5, -0.5]]


def test_weights_have_gradients_too_and_students_may_come_at_once() -> None:
    projections, labels = torch.randn(3, 5, 7), torch.tensor([0, 1, 2, 1, 3])
    weights = torch.rand(5, dtype=torch.float64, requires_grad=True)

    def hinges(projections: torch.Tensor) -> torch.Tensor:
        """The definition, from its sums over pairs."""
        picked = projections[:, labels].double()
        gap = picked.diagonal()[:, None] + picked.diagonal()[None, :] - picked - picked.T
        unlike = labels[:, None] != labels[None, :]
        return (unlike * weights[:, None] * weights[None, :] * (0.5 - gap).relu()).sum() / unlike.sum()

    found = torch.func.vmap(lambda one: difference_ranking(one, labels, weights, margin=0.5))(projections)
    expected = torch.stack([hinges(one) for one in projections])
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    grads = [torch.autograd.grad(values.sum(), weights)[0] for values in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


def test_like_labels_rank_nothing() -> None:
    value = difference_ranking(torch.randn(3, 2), torch.tensor([1, 1, 1]), torch.ones(3))
    assert value.item() == 0.0


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one label and one weight"):
        difference_ranking(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long), torch.ones(3))
