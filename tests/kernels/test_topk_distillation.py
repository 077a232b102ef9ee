"""Distilling from top-k labels: what the dense functions say of the labels written out, by torch and by the kernels."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from fdbpl.cache_layout.encodings import TopK, decode_topk, encode_topk
from fdbpl.kernels import topk_distillation as module
from fdbpl.kernels import topk_distillation_triton as kernels
from fdbpl.kernels.distillation import Direction, kl_divergence
from fdbpl.kernels.dual_prompt import informative_weight
from fdbpl.kernels.topk_distillation import others_logit, topk_informative_weight, topk_kl_divergence

DIRECTIONS = get_args(Direction)


@pytest.fixture(params=["torch", "triton"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "triton":
        request.getfixturevalue("interpret")(kernels)
        monkeypatch.setattr(kernels, "_LARGEST_BLOCK", 8)
        monkeypatch.setattr(module, "_is_by_triton", lambda student: True)
    return str(request.param)


def stored(num_examples: int, num_classes: int, top_k: int, seed: int, scale: float = 4.0) -> tuple[TopK, Tensor]:
    """Rows of a store, and the logits that they are read as."""
    logits = scale * np.random.default_rng(seed).normal(size=(num_examples, num_classes)).astype(np.float32)
    rows = encode_topk(logits, top_k)
    return rows, torch.from_numpy(decode_topk(rows, num_classes))


def label(rows: TopK, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    value_BK, index_BK, logsumexp_B = (torch.from_numpy(np.asarray(one)) for one in rows)
    return value_BK, index_BK, others_logit(value_BK, logsumexp_B, num_classes)


@pytest.mark.parametrize(("num_classes", "top_k"), [(7, 1), (20, 5), (9, 9), (3000, 16)])
@pytest.mark.parametrize("scale", [0.1, 4.0, 60.0, 3000.0])
def test_the_others_have_the_logit_of_a_decoded_label(num_classes: int, top_k: int, scale: float) -> None:
    rows, dense_BC = stored(5, num_classes, top_k, seed=1, scale=scale)
    value_BK, index_BK, other_B = label(rows, num_classes)
    written_BC = other_B[:, None].repeat(1, num_classes).scatter(1, index_BK.long(), value_BK.float())
    torch.testing.assert_close(written_BC, dense_BC, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("num_classes", "top_k"), [(2, 1), (21, 5), (9, 9)])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergence_and_gradient_are_those_of_the_labels_written_out(
    way: str, num_classes: int, top_k: int, direction: Direction, temperature: float
) -> None:
    rows, dense_BC = stored(3, num_classes, top_k, seed=2)
    student_BC = 4 * torch.randn(3, num_classes, generator=torch.Generator().manual_seed(3)) + 20
    found, expected = student_BC.clone().requires_grad_(), student_BC.clone().requires_grad_()
    options: dict[str, Any] = {"direction": direction, "temperature": temperature}
    one_B = topk_kl_divergence(found, *label(rows, num_classes), **options)
    other_B = kl_divergence(expected, dense_BC, **options)
    torch.testing.assert_close(one_B, other_B, rtol=1e-4, atol=2e-5)
    upstream_B = torch.tensor([0.5, -1.0, 2.0])
    for leaf, values_B in ((found, one_B), (expected, other_B)):
        (values_B * upstream_B).sum().backward()
        assert leaf.grad is not None
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_teacher_without_a_doubt_leaves_finite_numbers(way: str, direction: Direction) -> None:
    """The others' logit is then the lowest there is."""
    rows, dense_BC = stored(3, 12, 3, seed=4, scale=3000.0)
    student_BC = torch.randn(3, 12).requires_grad_()
    found_B = topk_kl_divergence(student_BC, *label(rows, 12), direction=direction)
    torch.testing.assert_close(found_B, kl_divergence(student_BC, dense_BC, direction=direction), rtol=1e-5, atol=1e-5)
    (grad_BC,) = torch.autograd.grad(found_B.sum(), student_BC)
    assert grad_BC.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(way: str, dtype: torch.dtype) -> None:
    rows, dense_BC = stored(3, 12, 3, seed=5)
    student_BC = torch.randn(12, 3, generator=torch.Generator().manual_seed(6)).to(dtype).T.requires_grad_()
    found_B = topk_kl_divergence(student_BC, *label(rows, 12))
    assert found_B.dtype == torch.float32
    torch.testing.assert_close(found_B, kl_divergence(student_BC.float(), dense_BC), rtol=1e-4, atol=1e-5)
    (grad_BC,) = torch.autograd.grad(found_B.sum(), student_BC)
    (right_BC,) = torch.autograd.grad(kl_divergence(student_BC.float(), dense_BC).sum(), student_BC)
    torch.testing.assert_close(grad_BC, right_BC)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_students_at_once_are_students_one_by_one(direction: Direction) -> None:
    rows, _ = stored(3, 12, 3, seed=7)
    written = label(rows, 12)
    student_NBC = torch.randn(2, 3, 12).requires_grad_()
    found_NB = torch.func.vmap(lambda one: topk_kl_divergence(one, *written, direction=direction))(student_NBC)
    expected_NB = torch.stack([topk_kl_divergence(one, *written, direction=direction) for one in student_NBC])
    torch.testing.assert_close(found_NB, expected_NB)
    grads = [torch.autograd.grad(values.square().sum(), student_NBC)[0] for values in (found_NB, expected_NB)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(("num_classes", "top_k"), [(2, 1), (21, 5), (9, 9)])
def test_the_weight_is_that_of_the_labels_written_out(num_classes: int, top_k: int) -> None:
    rows, dense_BC = stored(4, num_classes, top_k, seed=8, scale=1.0)
    value_BK, _, other_B = label(rows, num_classes)
    found_B = topk_informative_weight(value_BK, other_B, num_classes)
    torch.testing.assert_close(found_B, informative_weight(dense_BC), rtol=1e-4, atol=1e-6)


def test_nothing_of_the_size_of_all_classes_is_kept_by_the_kernels(interpret: Any) -> None:
    interpret(kernels)
    rows, _ = stored(3, 40, 3, seed=9)
    value_BK, index_BK, other_B = label(rows, 40)
    values, stats = kernels.forward(torch.randn(3, 40), value_BK.float(), index_BK.long(), other_B, "symmetric", 1.0)
    assert values.shape == (3,) and stats.shape == (3, 3)


def test_what_does_not_fit_together_is_refused() -> None:
    student, value, index, other = (
        torch.zeros(2, 5),
        torch.zeros(2, 3),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(2),
    )
    with pytest.raises(ValueError, match=r"expected \[B, C\], \[B, K\], \[B, K\] and \[B\]"):
        topk_kl_divergence(student, value, index[:, :2], other)
    with pytest.raises(ValueError, match="found 3 kept classes, expected at most the student's 2"):
        topk_kl_divergence(student[:, :2], value, index, other)
    with pytest.raises(ValueError, match="direction"):
        topk_kl_divergence(student, value, index, other, direction="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two or more"):
        topk_informative_weight(value[:, :1], other, 1)


@pytest.mark.parametrize("variant", [{"KEPT": 16}, {"KEPT": 1, "num_kept": 1}])
@pytest.mark.parametrize("name", ["_forward", "_backward"])
def test_the_kernels_compile_for_a_gpu(name: str, variant: dict[str, Any], compile_kernel: Any) -> None:
    lowest = {"LOWEST": kernels._LOWEST} if name == "_forward" else {}
    constants = {"DIRECTION": 0, "BLOCK": 1024, "STATS": kernels._STATS, **lowest, **variant}
    types = {"num_classes": "i32", "num_kept": "i32", "inverse_temperature": "fp32", "index": "*i64"}
    assert ".visible .entry" in compile_kernel(kernels, name, constants, {**types, "student": "*bf16", "grad": "*bf16"})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("num_classes", "top_k"), [(2, 1), (1000, 16), (1025, 10), (20930, 16)])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_on_a_device_too(num_classes: int, top_k: int, direction: Direction) -> None:
    rows, dense_BC = stored(5, num_classes, top_k, seed=10)
    student_BC = torch.randn(5, num_classes).cuda().requires_grad_()
    written = [one.cuda() for one in label(rows, num_classes)]
    found_B = topk_kl_divergence(student_BC, *written, direction=direction, temperature=2.0)
    expected_B = kl_divergence(student_BC, dense_BC.cuda(), direction=direction, temperature=2.0)
    torch.testing.assert_close(found_B, expected_B, rtol=1e-4, atol=1e-5)
    grads = [torch.autograd.grad(values.sum(), student_BC)[0] for values in (found_B, expected_B)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)
