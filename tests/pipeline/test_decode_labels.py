"""Stored labels on the training device: what numpy makes of them, for one student's rows and for many students'."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.cache_layout.encodings import TopK, decode_topk, encode_topk
from fdbpl.cache_layout.label_sources import FromEmbedding, FromLogits, FromTopK
from fdbpl.pipeline.labels.decode import decode_on
from fdbpl.pipeline.objectives.catalog import make_objective
from fdbpl.pipeline.values import KeptLogits, Prediction, Targets

CLASSES, VIEWS = 12, 6
CPU = torch.device("cpu")
TURNED = np.array([7, 3, 0, 11, 1, 2, 10, 4, 9, 5, 6, 8])


def logits(scale: float = 4.0) -> np.ndarray:
    return scale * np.random.default_rng(3).standard_normal((VIEWS, CLASSES)).astype(np.float32)


def dense(found: Any) -> torch.Tensor:
    return found.dense() if isinstance(found, KeptLogits) else found


def cases() -> dict[str, tuple[Any, list[np.ndarray]]]:
    random = np.random.default_rng(4)
    embedding = random.standard_normal((VIEWS, 8)).astype(np.float16)
    text = random.standard_normal((CLASSES, 8)).astype(np.float32)
    half = logits().astype(np.float16)
    return {
        "embedding": (FromEmbedding(text), [embedding]),
        "logits, the first": (FromLogits(slice(0, 5)), [half]),
        "logits, some": (FromLogits(TURNED[:5]), [half]),
        "topk": (FromTopK(CLASSES, slice(0, CLASSES)), list(encode_topk(logits(), 4))),
        "topk, turned": (FromTopK(CLASSES, TURNED), list(encode_topk(logits(), 4))),
        "topk of all": (FromTopK(CLASSES, TURNED), list(encode_topk(logits(), CLASSES))),
        "topk of certain views": (FromTopK(CLASSES, TURNED), list(encode_topk(logits(100.0), 3))),
    }


@pytest.mark.parametrize("case", cases())
def test_the_device_makes_of_rows_what_numpy_does(case: str) -> None:
    decode, rows = cases()[case]
    expected = torch.from_numpy(decode(rows))
    found = decode_on(decode, CPU)([torch.from_numpy(row) for row in rows])
    torch.testing.assert_close(dense(found), expected, rtol=1e-6, atol=1e-5)
    stacked = [torch.from_numpy(row).unflatten(0, (2, VIEWS // 2)) for row in rows]
    torch.testing.assert_close(dense(decode_on(decode, CPU)(stacked)).flatten(0, 1), expected, rtol=1e-6, atol=1e-5)


def test_another_kind_of_labels_is_refused() -> None:
    with pytest.raises(TypeError, match="found labels decoded by a list"):
        decode_on([], CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["kdpl", "promptkd", "fdbpl"])
@pytest.mark.parametrize("weights", ["none", "informative", "shuffled"])
def test_losses_over_kept_classes_are_those_over_all(name: str, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = encode_topk(logits(), 4)
    kept = decode_on(FromTopK(CLASSES, slice(0, CLASSES)), CPU)([torch.from_numpy(row) for row in rows])
    assert isinstance(kept, KeptLogits)
    labels = torch.arange(VIEWS)
    sparse = Targets(labels_B=labels, kept=kept)
    full = Targets(labels_B=labels, teacher_logits_BC=torch.from_numpy(decode_topk(TopK(*rows), CLASSES)))
    objective = make_objective(name, {"weights": weights, "temperature": 1.5})

    def loss_of(targets: Targets, asked: Callable[..., Any] = objective) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = torch.randn(2, VIEWS, CLASSES, generator=torch.Generator().manual_seed(5)).requires_grad_()
        loss = asked(Prediction(logits_BC=leaf[0], negative_logits_BC=leaf[1], logit_scale=10.0), targets).total()
        loss.backward()
        assert leaf.grad is not None
        return loss.detach(), leaf.grad

    expected = loss_of(full)
    torch.testing.assert_close(loss_of(sparse), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss_of(sparse, replace(objective, fused=False)), expected, rtol=1e-5, atol=1e-6)
    if name != "fdbpl":
        monkeypatch.setattr(KeptLogits, "dense", None)  # what is not asked for is not made
        torch.testing.assert_close(loss_of(sparse), expected, rtol=1e-5, atol=1e-6)
