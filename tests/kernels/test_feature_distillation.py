"""Distilling from features in chunks of classes: what whole products give, with nothing of their size."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fdbpl.kernels import feature_distillation as module
from fdbpl.kernels.distillation import Direction, kl_divergence
from fdbpl.kernels.feature_distillation import feature_kl_divergence

DIRECTIONS = get_args(Direction)
SCALES = {"student_scale": 100.0, "teacher_scale": 60.0}


def unit_vectors(batch: int, classes: int, seed: int = 1) -> list[Tensor]:
    """Features and texts of a student of width 6 and of a teacher of width 9."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, 6), (classes, 6), (batch, 9), (classes, 9))
    return [normalize(torch.randn(shape, generator=generator), dim=-1) for shape in shapes]


def by_products(vectors: list[Tensor], **options: Any) -> Tensor:
    """The definition, in float64."""
    features, texts, teacher_features, teacher_texts = (one.double() for one in vectors)
    logits = 100.0 * features @ texts.T, 60.0 * teacher_features @ teacher_texts.T
    temperature = options.get("temperature", 1.0)
    log_s, log_t = ((one / temperature).log_softmax(-1) for one in logits)
    forward, reverse = (log_t.exp() * (log_t - log_s)).sum(-1), (log_s.exp() * (log_s - log_t)).sum(-1)
    return {"symmetric": (forward + reverse) / 2, "forward": forward, "reverse": reverse}[options["direction"]]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize(("classes", "at_once"), [(1, 5), (2, 1), (20, 5), (23, 5), (23, 100)])
def test_values_and_gradients_are_those_of_whole_products(
    direction: Direction, temperature: float, classes: int, at_once: int
) -> None:
    vectors = unit_vectors(4, classes)
    found, expected = ([one.clone().requires_grad_(n < 2) for n, one in enumerate(vectors)] for _ in range(2))
    options: dict[str, Any] = {"direction": direction, "temperature": temperature}
    one_B = feature_kl_divergence(*found, **SCALES, **options, classes_at_once=at_once)
    other_B = by_products(expected, **options)
    assert one_B.dtype == torch.float32
    torch.testing.assert_close(one_B.double(), other_B, rtol=1e-4, atol=1e-4)
    upstream_B = torch.tensor([0.5, -1.0, 2.0, 0.0])
    for values_B in (one_B, other_B):
        (values_B * upstream_B).sum().backward()
    for leaf, right in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(leaf.grad, right.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_of_both_gradients_may_be_wanted(wanted: int) -> None:
    vectors = unit_vectors(3, 11)
    leaf = vectors[wanted].requires_grad_()
    (found,) = torch.autograd.grad(feature_kl_divergence(*vectors, **SCALES, classes_at_once=4).sum(), leaf)
    (expected,) = torch.autograd.grad(by_products(vectors, direction="symmetric").sum(), leaf)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_half_precision_is_computed_in_float32() -> None:
    vectors = [one.to(torch.bfloat16) for one in unit_vectors(3, 11)]
    leaves = [one.requires_grad_() for one in vectors[:2]]
    found_B = feature_kl_divergence(*vectors, **SCALES, classes_at_once=4)
    expected_B = by_products(vectors, direction="symmetric")
    torch.testing.assert_close(found_B.double(), expected_B, rtol=1e-4, atol=1e-4)
    grads = [torch.autograd.grad(values_B.sum(), leaves) for values_B in (found_B, expected_B)]
    for found, expected in zip(*grads, strict=True):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_nothing_of_the_size_of_all_classes_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """No product has more columns than a chunk, forward or backward; kept are inputs, and a few numbers a crop."""
    sizes: list[int] = []
    chunks = module._chunks

    def watched(*arguments: Any) -> Any:
        for chunk, student_BK, teacher_BK in chunks(*arguments):
            sizes.extend((student_BK.shape[1], teacher_BK.shape[1]))
            yield chunk, student_BK, teacher_BK

    monkeypatch.setattr(module, "_chunks", watched)
    vectors = unit_vectors(3, 11)
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(tuple(one.shape)) or one, lambda one: one):
        values_B = feature_kl_divergence(
            vectors[0], vectors[1].requires_grad_(), *vectors[2:], **SCALES, classes_at_once=4
        )
    values_B.sum().backward()
    assert sizes == [4, 4, 4, 4, 3, 3] * 2
    assert sorted(kept) == sorted([*(tuple(one.shape) for one in vectors), (3, 3)])


def test_students_at_once_are_students_one_by_one() -> None:
    features, _, *teacher = unit_vectors(3, 11)
    texts_NCD = torch.stack([unit_vectors(3, 11, seed)[1] for seed in (2, 3)]).requires_grad_()

    def loss(texts_CD: Tensor) -> Tensor:
        return feature_kl_divergence(features, texts_CD, *teacher, **SCALES)

    found_NB = torch.func.vmap(loss)(texts_NCD)
    expected_NB = torch.stack([loss(one) for one in texts_NCD])
    torch.testing.assert_close(found_NB, expected_NB, rtol=1e-4, atol=1e-4)
    grads = [torch.autograd.grad(values.sum(), texts_NCD)[0] for values in (found_NB, expected_NB)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-3)


def test_what_does_not_fit_together_is_refused() -> None:
    features, texts, *teacher = unit_vectors(3, 11)
    with pytest.raises(ValueError, match="the same crops and one class list"):
        feature_kl_divergence(features, texts[:-1], *teacher, **SCALES)
    with pytest.raises(ValueError, match="found classes_at_once = 0"):
        feature_kl_divergence(features, texts, *teacher, **SCALES, classes_at_once=0)
    with pytest.raises(ValueError, match="direction"):
        feature_kl_divergence(features, texts, *teacher, **SCALES, direction="up")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_takes_less_memory_than_whole_products() -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = ((64, 512), (20930, 512), (64, 1024), (20930, 1024))
    vectors = [normalize(torch.randn(shape, generator=generator), dim=-1).cuda() for shape in shapes]
    leaf = vectors[1].requires_grad_()
    peaks, grads = [], []
    for is_chunked in (True, False):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        if is_chunked:
            values_B = feature_kl_divergence(*vectors, **SCALES)
        else:
            logits = 100.0 * vectors[0] @ leaf.T, 60.0 * vectors[2] @ vectors[3].T
            values_B = kl_divergence(*logits)
        grads.append(torch.autograd.grad(values_B.sum(), leaf)[0])
        peaks.append(torch.cuda.max_memory_allocated() - before)
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-3)
    assert peaks[0] < peaks[1]
