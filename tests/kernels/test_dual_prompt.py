import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.kernels.dual_prompt import informative_weight, presence, rejection, separation


def test_terms_by_hand() -> None:
    teacher = torch.tensor([[math.log(0.9), math.log(0.1)], [0.0, 0.0]])
    surprise = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert informative_weight(teacher).tolist() == pytest.approx([1 - surprise / math.log(2), 0.0], abs=1e-6)
    assert rejection(torch.tensor([[1.0, 1.0]])).item() == pytest.approx(-math.log(2))
    assert separation(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, -3.0]])).item() == pytest.approx(0.0, abs=1e-7)
    assert separation(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])).item() == pytest.approx(0.96)


@settings(max_examples=40, deadline=None)
@given(
    num_examples=st.integers(1, 6),
    num_classes=st.integers(2, 40),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
    seed=st.integers(0, 10_000),
)
def test_values_and_gradients_are_those_of_the_formulas_in_float64(
    num_examples: int, num_classes: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    positive, negative = scale * rng.normal(size=(2, num_examples, num_classes)).astype(np.float32)
    upstream = torch.from_numpy(rng.normal(size=num_examples))
    leaves = [torch.from_numpy(side).requires_grad_() for side in (positive, negative)]
    exact = [torch.from_numpy(side).double().requires_grad_() for side in (positive, negative)]

    found = [rejection(leaves[1]), separation(leaves[0], leaves[1])]
    p = exact[1].exp() / exact[1].exp().sum(-1, keepdim=True)
    lengths = (exact[0] ** 2).sum(-1).sqrt() * (exact[1] ** 2).sum(-1).sqrt()
    expected = [(p * p.log()).sum(-1), (exact[0] * exact[1]).sum(-1) / lengths]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)
    sum((value.double() * upstream).sum() for value in found).backward()  # type: ignore[union-attr]
    sum((value * upstream).sum() for value in expected).backward()  # type: ignore[union-attr]
    for leaf, right in zip(leaves, exact, strict=True):
        assert leaf.grad is not None and right.grad is not None
        torch.testing.assert_close(leaf.grad.double(), right.grad, rtol=1e-3, atol=1e-4)

    probs = torch.from_numpy(positive).double().softmax(-1)
    weight = 1 + (probs * probs.log()).sum(-1) / math.log(num_classes)
    torch.testing.assert_close(informative_weight(torch.from_numpy(positive)).double(), weight, rtol=1e-4, atol=1e-5)


def test_a_certain_teacher_weighs_one_and_an_ignorant_one_nothing() -> None:
    weights = informative_weight(torch.tensor([[100.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert weights.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_the_teacher_gets_no_gradient() -> None:
    teacher = torch.randn(4, 5, requires_grad=True)
    assert not informative_weight(teacher).requires_grad


def test_one_class_and_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        informative_weight(torch.zeros(2, 1))
    with pytest.raises(ValueError, match="positive logits"):
        separation(torch.zeros(2, 3), torch.zeros(2, 4))


def test_presence_by_hand() -> None:
    positive, negative = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    a = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))]
    expected = -0.8 * math.log(a[0]) - 0.1 * math.log(a[1])
    expected -= (0.2 * math.log(1 - a[0]) + 0.9 * math.log(1 - a[1])) / 2
    assert presence(positive, negative, torch.tensor([[0.8, 0.1]])).item() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="expected the same"):
        presence(positive, negative, torch.zeros(1, 3))


@settings(max_examples=30, deadline=None)
@given(num_examples=st.integers(1, 5), num_classes=st.integers(1, 30), seed=st.integers(0, 10_000))
def test_presence_and_its_gradient_are_those_of_the_formula_in_float64(
    num_examples: int, num_classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sides = 3 * rng.normal(size=(2, num_examples, num_classes)).astype(np.float32)
    present = torch.from_numpy(rng.uniform(size=(num_examples, num_classes)))
    leaves = [torch.from_numpy(side).requires_grad_() for side in sides]
    exact = [torch.from_numpy(side).double().requires_grad_() for side in sides]
    a = 1 / (1 + (exact[1] - exact[0]).exp())
    expected = -(present * a.log()).sum(-1) - ((1 - present) * (1 - a).log()).mean(-1)
    found = presence(leaves[0], leaves[1], present.float())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    expected.sum().backward()
    for leaf, right in zip(leaves, exact, strict=True):
        assert leaf.grad is not None and right.grad is not None
        torch.testing.assert_close(leaf.grad.double(), right.grad, rtol=1e-3, atol=1e-5)
