import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.kernels.distillation import Direction, class_log_probs, entropy, kl_divergence

DIRECTIONS = get_args(Direction)


def by_definition(student: np.ndarray, teacher: np.ndarray, direction: str, temperature: float) -> np.ndarray:
    """Written from the definition, in float64, one example and one class at a time."""
    values = []
    for s, t in zip(student.astype(np.float64) / temperature, teacher.astype(np.float64) / temperature, strict=True):
        p, q = np.exp(t - t.max()), np.exp(s - s.max())
        p, q = p / p.sum(), q / q.sum()
        forward = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
        reverse = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True) if b > 0)
        values.append({"symmetric": (forward + reverse) / 2, "forward": forward, "reverse": reverse}[direction])
    return np.array(values)


@pytest.mark.parametrize(("direction", "part"), [("symmetric", (0.5, 0.5)), ("forward", (1, 0)), ("reverse", (0, 1))])
def test_two_classes_by_hand(direction: Direction, part: tuple[float, float]) -> None:
    student = torch.tensor([[math.log(0.5), math.log(0.5)]])
    teacher = torch.tensor([[math.log(0.8), math.log(0.2)]])
    forward = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    reverse = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    found = kl_divergence(student, teacher, direction=direction).item()
    assert found == pytest.approx(part[0] * forward + part[1] * reverse, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    num_examples=st.integers(1, 7),
    num_classes=st.integers(1, 65),
    scale=st.sampled_from([0.1, 1.0, 20.0]),
    direction=st.sampled_from(DIRECTIONS),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 7.0]),
    seed=st.integers(0, 10_000),
)
def test_it_is_its_definition(
    num_examples: int, num_classes: int, scale: float, direction: Direction, temperature: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    student, teacher = scale * rng.normal(size=(2, num_examples, num_classes)).astype(np.float32)
    found = kl_divergence(
        torch.from_numpy(student), torch.from_numpy(teacher), direction=direction, temperature=temperature
    )
    expected = by_definition(student, teacher, direction, temperature)
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradient_is_that_of_the_definition_in_float64(direction: Direction, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    student = (4 * torch.randn(5, 11, generator=generator)).to(dtype)
    teacher = (4 * torch.randn(11, 5, generator=generator)).to(dtype).T  # not contiguous
    upstream = torch.tensor([0.5, -1.0, 2.0, 0.0, 3.0])
    leaf = student.clone().requires_grad_()
    (kl_divergence(leaf, teacher, direction=direction, temperature=2.0) * upstream).sum().backward()

    exact = student.double().requires_grad_()
    s, t = (exact / 2).log_softmax(-1), (teacher.double() / 2).log_softmax(-1)
    forward, reverse = (t.exp() * (t - s)).sum(-1), (s.exp() * (s - t)).sum(-1)
    value = {"symmetric": (forward + reverse) / 2, "forward": forward, "reverse": reverse}[direction]
    (value * upstream.double()).sum().backward()
    assert leaf.grad is not None and exact.grad is not None
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    torch.testing.assert_close(leaf.grad.double(), exact.grad, rtol=tolerance, atol=tolerance)


def test_classes_of_no_probability_add_nothing() -> None:
    log_p = torch.tensor([[0.0, -math.inf]])
    assert entropy(log_p).item() == 0.0


def test_float16_logits_give_float32() -> None:
    logits = torch.zeros(2, 3, dtype=torch.float16)
    assert class_log_probs(logits).dtype == torch.float32
    assert kl_divergence(logits, logits).tolist() == [0.0, 0.0]


def test_unlike_shapes_and_other_directions_are_refused() -> None:
    with pytest.raises(ValueError, match="one class list"):
        kl_divergence(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"expected \[B, C\]"):
        kl_divergence(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="found direction = 'sideways'"):
        kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3), direction="sideways")  # type: ignore[arg-type]
