import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.kernels.distillation import class_log_probs, entropy, symmetric_kl


def reference_symmetric_kl(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Written from the definition, in float64, one example and one class at a time."""
    values = []
    for s, t in zip(student.astype(np.float64), teacher.astype(np.float64), strict=True):
        p, q = np.exp(t - t.max()), np.exp(s - s.max())
        p, q = p / p.sum(), q / q.sum()
        forward = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
        reverse = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True) if b > 0)
        values.append(0.5 * forward + 0.5 * reverse)
    return np.array(values)


def test_symmetric_kl_of_two_classes_by_hand() -> None:
    student = torch.tensor([[math.log(0.5), math.log(0.5)]])
    teacher = torch.tensor([[math.log(0.8), math.log(0.2)]])
    forward = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    reverse = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert symmetric_kl(student, teacher).item() == pytest.approx((forward + reverse) / 2, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    num_examples=st.integers(1, 7),
    num_classes=st.integers(1, 65),
    scale=st.sampled_from([0.1, 1.0, 20.0]),
    seed=st.integers(0, 10_000),
)
def test_symmetric_kl_is_its_definition(num_examples: int, num_classes: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    student, teacher = scale * rng.normal(size=(2, num_examples, num_classes)).astype(np.float32)
    found = symmetric_kl(torch.from_numpy(student), torch.from_numpy(teacher))
    np.testing.assert_allclose(found.numpy(), reference_symmetric_kl(student, teacher), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradient_is_that_of_both_directions_in_float64(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    student = (4 * torch.randn(5, 11, generator=generator)).to(dtype)
    teacher = (4 * torch.randn(11, 5, generator=generator)).to(dtype).T  # not contiguous
    upstream = torch.tensor([0.5, -1.0, 2.0, 0.0, 3.0])
    leaf = student.clone().requires_grad_()
    (symmetric_kl(leaf, teacher) * upstream).sum().backward()

    exact = student.double().requires_grad_()
    s, t = exact.log_softmax(-1), teacher.double().log_softmax(-1)
    both = 0.5 * (t.exp() * (t - s)).sum(-1) + 0.5 * (s.exp() * (s - t)).sum(-1)
    (both * upstream.double()).sum().backward()
    assert leaf.grad is not None and exact.grad is not None
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    torch.testing.assert_close(leaf.grad.double(), exact.grad, rtol=tolerance, atol=tolerance)


def test_classes_of_no_probability_add_nothing() -> None:
    log_p = torch.tensor([[0.0, -math.inf]])
    assert entropy(log_p).item() == 0.0


def test_float16_logits_give_float32() -> None:
    logits = torch.zeros(2, 3, dtype=torch.float16)
    assert class_log_probs(logits).dtype == torch.float32
    assert symmetric_kl(logits, logits).tolist() == [0.0, 0.0]


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one class list"):
        symmetric_kl(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"expected \[B, C\]"):
        symmetric_kl(torch.zeros(3), torch.zeros(3))
