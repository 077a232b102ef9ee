"""All terms in one pass, by torch and by the Triton kernels, against their definition in float64."""

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdbpl.kernels import fdbpl_terms_autograd as module
from fdbpl.kernels import fdbpl_terms_kernels
from fdbpl.kernels import fdbpl_terms_triton as kernels
from fdbpl.kernels.distillation import Direction
from fdbpl.kernels.fdbpl_terms import Terms, fdbpl_terms

DIRECTIONS = get_args(Direction)
NUMBERS = dict.fromkeys(("num_classes", "num_rows", "teacher_rows"), "i32")
NUMBERS |= dict.fromkeys(("inverse_temperature", "subtract"), "fp32")


@pytest.fixture
def by_triton(interpret: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels on the CPU, several blocks to a row."""
    interpret(fdbpl_terms_kernels)
    for name in ("forward_kernel", "backward_kernel"):
        monkeypatch.setattr(kernels, name, getattr(fdbpl_terms_kernels, name))
    monkeypatch.setattr(kernels, "_LARGEST_BLOCK", 8)
    monkeypatch.setattr(module, "_passes", lambda device: kernels)


@pytest.fixture(params=["torch", "triton"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "triton":
        request.getfixturevalue("by_triton")
    return str(request.param)


def definition(student: Tensor, teacher: Tensor, negative: Tensor | None, **options: Any) -> list[Tensor]:
    """Agreement, weight, rejection and separation of float64 logits, from their formulas."""
    temperature, subtract = options.get("temperature", 1.0), options.get("subtract", 0.0)
    log_s, log_t = (student / temperature).log_softmax(-1), (teacher / temperature).log_softmax(-1)
    forward, reverse = (log_t.exp() * (log_t - log_s)).sum(-1), (log_s.exp() * (log_s - log_t)).sum(-1)
    agreement = {"symmetric": (forward + reverse) / 2, "forward": forward, "reverse": reverse}
    log_w = teacher.log_softmax(-1)
    values = [
        agreement[options.get("direction", "symmetric")],
        1 + (log_w.exp() * log_w).sum(-1) / math.log(student.shape[-1]),
    ]
    if negative is None:
        return values
    log_n, positive = negative.log_softmax(-1), student + subtract * negative
    lengths = (positive**2).sum(-1).sqrt() * (negative**2).sum(-1).sqrt()
    return [*values, (log_n.exp() * log_n).sum(-1), (positive * negative).sum(-1) / lengths]


def logits(*shape: int, seed: int, scale: float = 4.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    # Far from zero, where a sum of raw logits would lose digits.
    student, teacher, negative = (scale * torch.randn(*shape, generator=generator) + 20 for _ in range(3))
    return student, teacher, negative


def weighted_sum(values: Terms | list[Tensor]) -> Tensor:
    """A loss in which every value of every example counts otherwise."""
    terms = []
    for place, value in enumerate(one for one in values if one is not None):
        parts = torch.linspace(place - 1.0, 2.0, value.numel(), device=value.device)
        terms.append((value.double() * parts.reshape(value.shape)).sum())
    return torch.stack(terms).sum()


def compare(student: Tensor, teacher: Tensor, negative: Tensor | None, tolerance: float = 1e-4, **options: Any) -> None:
    """Values and gradients are the definition's."""
    given = [one.clone().requires_grad_() for one in (student, negative) if one is not None]
    exact = [one.detach().double().requires_grad_() for one in given]
    found = fdbpl_terms(given[0], teacher, given[1] if negative is not None else None, **options)
    expected = definition(exact[0], teacher.double(), exact[1] if negative is not None else None, **options)
    for one, right in zip((value for value in found if value is not None), expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), right, rtol=1e-4, atol=2e-5)
    weighted_sum(found).backward()
    weighted_sum(expected).backward()
    for leaf, right in zip(given, exact, strict=True):
        assert leaf.grad is not None and right.grad is not None and leaf.grad.dtype == leaf.dtype
        torch.testing.assert_close(leaf.grad.double(), right.grad, rtol=tolerance, atol=tolerance)


@settings(max_examples=60, deadline=None)
@given(
    num_examples=st.integers(1, 6),
    num_classes=st.integers(2, 65),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
    direction=st.sampled_from(DIRECTIONS),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
    subtract=st.sampled_from([0.0, 0.7]),
    is_dual=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_it_is_its_definition(
    num_examples: int,
    num_classes: int,
    scale: float,
    direction: Direction,
    temperature: float,
    subtract: float,
    is_dual: bool,
    seed: int,
) -> None:
    student, teacher, negative = logits(num_examples, num_classes, seed=seed, scale=scale)
    options = {"direction": direction, "temperature": temperature, "subtract": subtract}
    compare(student, teacher, negative if is_dual else None, **options)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    num_classes=st.sampled_from([2, 8, 9, 21]),
    direction=st.sampled_from(DIRECTIONS),
    temperature=st.sampled_from([1.0, 3.0]),
    subtract=st.sampled_from([0.0, 0.7]),
    is_dual=st.booleans(),
)
@pytest.mark.usefixtures("by_triton")
def test_so_are_the_kernels(
    num_classes: int, direction: Direction, temperature: float, subtract: float, is_dual: bool
) -> None:
    student, teacher, negative = logits(3, num_classes, seed=num_classes, scale=6.0)
    options = {"direction": direction, "temperature": temperature, "subtract": subtract}
    compare(student, teacher, negative if is_dual else None, **options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(way: str, dtype: torch.dtype) -> None:
    student, teacher, negative = (one.to(dtype) for one in logits(3, 11, seed=1))
    compare(student, teacher.float(), negative, tolerance=2e-2 if dtype == torch.bfloat16 else 2e-3, temperature=2.0)


def test_rows_need_not_lie_together(way: str) -> None:
    student, teacher, negative = (one.T for one in logits(11, 3, seed=2))
    compare(student, teacher, negative)


def test_without_weights_there_is_none(way: str) -> None:
    student, teacher, negative = logits(3, 5, seed=3)
    terms = fdbpl_terms(student, teacher, weighted=False)
    assert terms[1:] == (None, None, None)
    torch.testing.assert_close(terms.agreement_B, fdbpl_terms(student, teacher, negative).agreement_B)


def test_no_logits_at_all_have_a_cosine_of_zero(way: str) -> None:
    zero = torch.zeros(1, 4, requires_grad=True)
    negative = torch.tensor([[1.0, 2.0, -1.0, 0.0]])
    terms = fdbpl_terms(zero, torch.ones(1, 4), negative)
    assert terms.separation_B is not None and terms.separation_B.tolist() == [0.0]
    (found,) = torch.autograd.grad(terms.separation_B, zero)
    (expected,) = torch.autograd.grad(torch.nn.functional.cosine_similarity(zero, negative), zero)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("is_dual", [True, False])
def test_students_at_once_are_students_one_by_one(way: str, is_shared: bool, is_dual: bool) -> None:
    """Under vmap, in whatever axis students lie; the teacher's logits may be the same for all."""
    student, teacher, negative = logits(4, 3, 9, seed=4)
    if is_shared:
        teacher = teacher[0]
    leaves = [student.permute(1, 2, 0).clone().requires_grad_(), negative.clone().requires_grad_()]
    dims = (2, None if is_shared else 0, 0 if is_dual else None)

    def loss(one: Tensor, teacher: Tensor, negative: Tensor | None) -> tuple[Tensor, ...]:
        terms = fdbpl_terms(one, teacher, negative, subtract=0.3)
        return tuple(value for value in terms if value is not None)

    found = torch.func.vmap(loss, in_dims=dims)(leaves[0], teacher, leaves[1] if is_dual else None)
    exact = [student.clone().requires_grad_(), negative.clone().requires_grad_()]
    expected = [
        loss(exact[0][n], teacher if is_shared else teacher[n], exact[1][n] if is_dual else None) for n in range(4)
    ]
    for value, right in zip(found, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(value, torch.stack(right))
    weighted_sum(list(found)).backward()
    weighted_sum([torch.stack(values) for values in zip(*expected, strict=True)]).backward()
    for leaf, right in zip(leaves, exact, strict=True):
        assert (leaf.grad is None) == (right.grad is None)
        if leaf.grad is not None and right.grad is not None:
            grad = leaf.grad.permute(2, 0, 1) if leaf is leaves[0] else leaf.grad
            torch.testing.assert_close(grad, right.grad)


def test_gradients_may_be_taken_inside_of_vmap(way: str) -> None:
    student, teacher, negative = logits(3, 2, 5, seed=5)

    def loss(one: Tensor, negative: Tensor) -> Tensor:
        return weighted_sum(fdbpl_terms(one, teacher[0], negative))

    found = torch.func.vmap(torch.func.grad(loss, argnums=(0, 1)))(student, negative)
    for n in range(3):
        expected = torch.func.grad(loss, argnums=(0, 1))(student[n], negative[n])
        for grad, right in zip(found, expected, strict=True):
            torch.testing.assert_close(grad[n], right)


def test_two_axes_of_students_may_share_a_teacher_in_part(way: str) -> None:
    student, teacher, _ = logits(2, 3, 4, 5, seed=6)
    outer = torch.func.vmap(torch.func.vmap(lambda s, t: fdbpl_terms(s, t)[:2], in_dims=(0, None)), in_dims=(0, 0))
    agreement, weight = outer(student, teacher[:, 0])
    for n in range(2):
        for m in range(3):
            terms = fdbpl_terms(student[n, m], teacher[n, 0])
            torch.testing.assert_close(agreement[n, m], terms.agreement_B)
            torch.testing.assert_close(weight[n, m], terms.weight_B)


def test_second_derivatives_are_refused(way: str) -> None:
    student, teacher, negative = logits(2, 5, seed=7)
    student.requires_grad_()
    (grad,) = torch.autograd.grad(fdbpl_terms(student, teacher, negative).agreement_B.sum(), student, create_graph=True)
    with pytest.raises(RuntimeError, match="set fused = False"):
        grad.sum().backward()


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher, _ = logits(2, 5, seed=8)
    teacher.requires_grad_()
    terms = fdbpl_terms(student.requires_grad_(), teacher)
    assert terms.weight_B is not None and not terms.weight_B.requires_grad
    terms.agreement_B.sum().backward()
    assert teacher.grad is None and student.grad is not None


@pytest.mark.usefixtures("by_triton")
def test_the_kernels_keep_a_few_numbers_a_crop() -> None:
    student, teacher, negative = logits(3, 100, seed=9)
    options = module.Options(direction="symmetric", temperature=1.0, subtract=0.0, weighted=True)
    values, kept = kernels.forward(student, teacher, negative, options)
    assert [tuple(value.shape) for value in values] == [(3,)] * 4
    assert [tuple(one.shape) for one in kept] == [(3, 8)]


@pytest.mark.parametrize("fused", [True, False])
def test_what_does_not_fit_together_is_refused(fused: bool) -> None:
    with pytest.raises(ValueError, match="one class list"):
        fdbpl_terms(torch.zeros(2, 3), torch.zeros(2, 4), fused=fused)
    with pytest.raises(ValueError, match="negative logits"):
        fdbpl_terms(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 4), fused=fused)
    with pytest.raises(ValueError, match="found direction = 'sideways'"):
        fdbpl_terms(torch.zeros(2, 3), torch.zeros(2, 3), direction="sideways", fused=fused)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two or more"):
        fdbpl_terms(torch.zeros(2, 1), torch.zeros(2, 1), fused=fused)


# Triton takes a number that is 1 as a constant.
@pytest.mark.parametrize(
    "variant", [{}, {"DUAL": False, "TEMPERED": False, "BLOCK": 16, "num_rows": 1, "teacher_rows": 1}]
)
@pytest.mark.parametrize("name", ["forward_kernel", "backward_kernel"])
def test_the_kernels_compile_for_a_gpu(name: str, variant: dict[str, Any], compile_kernel: Any) -> None:
    constants = {"WEIGHTED": True, "TEMPERED": True, "DIRECTION": 0, "DUAL": True, "BLOCK": 1024, **kernels._CONSTANTS}
    types = {**NUMBERS, **dict.fromkeys(("student", "negative", "grad", "negative_grad"), "*bf16")}
    assert ".visible .entry" in compile_kernel(fdbpl_terms_kernels, name, constants | variant, types)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("num_classes", [2, 16, 1000, 1024, 1025, 20930])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_device_too(num_classes: int, dtype: torch.dtype) -> None:
    student, teacher, negative = (one.cuda().to(dtype) for one in logits(5, num_classes, seed=num_classes))
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-4
    for direction in DIRECTIONS:
        for temperature, subtract in ((1.0, 0.0), (2.0, 0.5)):
            options = {"direction": direction, "temperature": temperature, "subtract": subtract}
            compare(student, teacher, negative, tolerance=tolerance, **options)
            compare(student, teacher, None, tolerance=tolerance, **options)
