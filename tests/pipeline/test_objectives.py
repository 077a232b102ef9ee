import math

import pytest
import torch

from fdbpl.pipeline.objectives.catalog import make_objective
from fdbpl.pipeline.values import Prediction, Targets


def prediction(*, dual: bool = True) -> Prediction:
    """Two examples of two classes, small enough to follow by hand."""
    features = torch.eye(2)
    return Prediction(
        logits_BC=torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
        image_features_BD=features,
        text_features_CD=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        negative_logits_BC=torch.tensor([[0.0, 1.0], [3.0, 0.0]]) if dual else None,
        negative_text_features_CD=torch.tensor([[0.0, 1.0], [1.0, 0.0]]) if dual else None,
    )


TEACHER = torch.tensor([[math.log(0.9), math.log(0.1)], [0.0, 0.0]])
TARGETS = Targets(labels_B=torch.tensor([0, 1]), teacher_logits_BC=TEACHER)


def entropy(*p: float) -> float:
    return -sum(x * math.log(x) for x in p)


def test_cross_entropy_by_hand() -> None:
    terms = make_objective("cross_entropy", {})(prediction(dual=False), TARGETS)
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1))]
    assert terms.values["cross_entropy"].tolist() == pytest.approx(expected)
    assert terms.total().item() == pytest.approx(sum(expected) / 2)


def test_kdpl_is_the_symmetric_kl_at_its_temperature() -> None:
    terms = make_objective("kdpl", {"temperature": 2.0})(prediction(dual=False), TARGETS)
    p = [3 / 4, 1 / 4]  # 0.9 and 0.1 at temperature 2 are as 3 to 1
    q = [math.e / (math.e + 1), 1 / (math.e + 1)]
    expected = 0.5 * sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert terms.values["agreement"][0].item() == pytest.approx(expected, rel=1e-5)


def test_fdbpl_combines_its_terms_by_weight() -> None:
    terms = make_objective("fdbpl", {"separation": 0.5, "ranking": 2.0})(prediction(), TARGETS)
    w = 1 - entropy(0.9, 0.1) / math.log(2)  # the second crop tells nothing: weight 0
    q = [math.exp(2) / (math.exp(2) + 1), 1 / (math.exp(2) + 1)]
    kl = 0.5 * sum((a - b) * math.log(a / b) for a, b in zip([0.9, 0.1], q, strict=True))
    reject = [
        -entropy(1 / (1 + math.e), math.e / (1 + math.e)),
        -entropy(math.exp(3) / (1 + math.exp(3)), 1 / (1 + math.exp(3))),
    ]
    assert terms.values["agreement"].tolist() == pytest.approx([w * kl, 0.0], abs=1e-6)
    assert terms.values["rejection"].tolist() == pytest.approx([(1 - w) * reject[0], reject[1]], rel=1e-5)
    # cos([2, 0], [0, 1]) = 0 for the first, and the second has no weight.
    assert terms.values["separation"].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    # Both crops have the teacher's class 0 (a tie goes to the first): no pair of unlike labels.
    assert terms.values["ranking"].item() == 0.0
    total = w * kl / 2 + ((1 - w) * reject[0] + reject[1]) / 2
    assert terms.total().item() == pytest.approx(total, rel=1e-5)


def test_fdbpl_parts_the_prompts_and_ranks_their_differences() -> None:
    """Two certain crops of unlike classes, all weights 1: separation and ranking by hand."""
    certain = Targets(labels_B=torch.tensor([0, 1]), teacher_logits_BC=torch.tensor([[99.0, 0.0], [0.0, 99.0]]))
    aligned = Prediction(
        logits_BC=torch.tensor([[3.0, 4.0], [1.0, 0.0]]),
        image_features_BD=torch.eye(2),
        text_features_CD=torch.tensor([[0.3, 0.1], [0.2, 0.4]]),
        negative_logits_BC=torch.tensor([[4.0, 3.0], [1.0, 1.0]]),
        negative_text_features_CD=torch.tensor([[0.1, 0.2], [0.3, 0.1]]),
    )
    terms = make_objective("fdbpl", {"separation": 0.5, "ranking": 2.0, "margin": 0.9})(aligned, certain)
    assert terms.values["separation"].tolist() == pytest.approx([24 / 25, 2**-0.5], rel=1e-5)
    # d0 = (.2, -.1), d1 = (-.1, .3): (f0 - f1).(d0 - d1) = .3 + .4 = .7, so the hinge is .9 - .7.
    assert terms.values["ranking"].item() == pytest.approx(0.2, rel=1e-5)
    rest = sum(terms.values[name].mean().item() for name in ("agreement", "rejection"))
    assert terms.total().item() == pytest.approx(rest + 0.5 * (0.96 + 2**-0.5) / 2 + 2.0 * 0.2, rel=1e-5)


def test_fdbpl_without_weights_counts_every_crop() -> None:
    terms = make_objective("fdbpl", {"weighted": False})(prediction(), TARGETS)
    assert terms.values["agreement"][1].item() > 0
    assert terms.values["rejection"].tolist() == [0.0, 0.0]


def test_negative_option_is_refused() -> None:
    with pytest.raises(ValueError, match="separation"):
        make_objective("fdbpl", {"separation": -1.0})
