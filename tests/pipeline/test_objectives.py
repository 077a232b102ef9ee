import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from fdbpl.pipeline.objectives.catalog import make_objective
from fdbpl.pipeline.values import LossTerms, Prediction, Targets


def prediction(*, dual: bool = True) -> Prediction:
    """Two examples of two classes, small enough to follow by hand."""
    return Prediction(
        logits_BC=torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
        logit_scale=1.0,
        text_features_CD=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        negative_logits_BC=torch.tensor([[0.0, 1.0], [3.0, 0.0]]) if dual else None,
        negative_text_features_CD=torch.tensor([[0.0, 1.0], [1.0, 0.0]]) if dual else None,
    )


FORMS = ("corrected", "as_published")
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
        logit_scale=10.0,
        text_features_CD=torch.tensor([[0.3, 0.4], [0.1, 0.0]]),
        negative_logits_BC=torch.tensor([[4.0, 3.0], [1.0, 1.0]]),
        negative_text_features_CD=torch.tensor([[0.4, 0.3], [0.1, 0.1]]),
    )
    terms = make_objective("fdbpl", {"separation": 0.5, "ranking": 2.0, "margin": 0.9})(aligned, certain)
    assert terms.values["separation"].tolist() == pytest.approx([24 / 25, 2**-0.5], rel=1e-5)
    # Projections on both differences: (-.1, .1) of the first, (0, -.1) of the second. The gap between own and other
    # is (-.1 - .1) + (-.1 - 0) = -.3, so the hinge is .9 + .3.
    assert terms.values["ranking"].item() == pytest.approx(1.2, rel=1e-5)
    rest = sum(terms.values[name].mean().item() for name in ("agreement", "rejection"))
    assert terms.total().item() == pytest.approx(rest + 0.5 * (0.96 + 2**-0.5) / 2 + 2.0 * 1.2, rel=1e-5)


def test_fdbpl_without_weights_counts_every_crop() -> None:
    terms = make_objective("fdbpl", {"weights": "none"})(prediction(), TARGETS)
    assert terms.values["agreement"][1].item() > 0
    assert terms.values["rejection"].tolist() == [0.0, 0.0]


def test_negative_option_is_refused() -> None:
    with pytest.raises(ValueError, match="separation"):
        make_objective("fdbpl", {"separation": -1.0})


def test_as_published_the_last_term_is_zero_whatever_the_prompts_are() -> None:
    certain = Targets(labels_B=torch.tensor([0, 1]), teacher_logits_BC=torch.tensor([[99.0, 0.0], [0.0, 99.0]]))
    corrected, published = (
        make_objective("fdbpl", {"form": form, "margin": 9.0})(prediction(), certain) for form in FORMS
    )
    assert corrected.values["ranking"].item() > 0.1
    assert published.values["ranking"].item() == pytest.approx(0.0, abs=1e-6)
    without = corrected.total() - 0.1 * corrected.values["ranking"]
    assert published.total().item() == pytest.approx(without.item(), abs=1e-6)


def test_every_distilling_objective_takes_direction_temperature_and_weights() -> None:
    q = [math.exp(2) / (math.exp(2) + 1), 1 / (math.exp(2) + 1)]
    reverse = sum(b * math.log(b / a) for a, b in zip([0.9, 0.1], q, strict=True))
    w = 1 - entropy(0.9, 0.1) / math.log(2)
    for name in ("kdpl", "fdbpl", "promptkd"):
        terms = make_objective(name, {"direction": "reverse", "weights": "informative"})(prediction(), TARGETS)
        assert terms.values["agreement"][0].item() == pytest.approx(w * reverse, rel=1e-5)
        warm = make_objective(name, {"direction": "forward", "temperature": 2.0, "weights": "none"})
        p, s = [3 / 4, 1 / 4], [math.e / (math.e + 1), 1 / (math.e + 1)]
        forward = sum(a * math.log(a / b) for a, b in zip(p, s, strict=True))
        assert warm(prediction(), TARGETS).values["agreement"][0].item() == pytest.approx(forward, rel=1e-5)


def test_shuffled_weights_are_those_of_other_crops() -> None:
    plain = make_objective("kdpl", {})(prediction(dual=False), TARGETS).values["agreement"]
    w = 1 - entropy(0.9, 0.1) / math.log(2)
    shuffled = make_objective("kdpl", {"weights": "shuffled"})(prediction(dual=False), TARGETS).values["agreement"]
    assert shuffled.tolist() == pytest.approx([0.0, w * plain[1].item()], abs=1e-6)


def test_promptkd_averages_over_classes_and_scales_by_its_weight() -> None:
    terms = make_objective("promptkd", {"temperature": 2.0, "weight_of_kl": 200.0})(prediction(dual=False), TARGETS)
    p, s = [3 / 4, 1 / 4], [math.e / (math.e + 1), 1 / (math.e + 1)]
    first = sum(a * math.log(a / b) for a, b in zip(p, s, strict=True))
    root = math.exp(0.5)
    second = sum(0.5 * math.log(0.5 / b) for b in (root / (1 + root), 1 / (1 + root)))
    assert terms.total().item() == pytest.approx(200 * 4 * (first + second) / (2 * 2), rel=1e-5)


def test_pseudo_labels_are_the_teachers_likeliest_classes() -> None:
    terms = make_objective("pseudo_labels", {})(prediction(dual=False), TARGETS)
    assert terms.values["cross_entropy"].tolist() == pytest.approx([math.log(1 + math.exp(-2)), math.log(1 + math.e)])


def test_importance_counts_examples_and_leaves_terms_over_pairs() -> None:
    terms = LossTerms(values={"each": torch.tensor([1.0, 3.0]), "pairs": torch.tensor(5.0)}, weights={"pairs": 2.0})
    assert terms.total().item() == pytest.approx(2.0 + 10.0)
    assert terms.total(torch.tensor([0.5, 2.0])).item() == pytest.approx(3.25 + 10.0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kdpl", {"temperature": 0.0}, "expected a positive number"),
        ("kdpl", {"direction": "up"}, "direction"),
        ("kdpl_ca", {"most_classes": 1}, "expected 2 or more"),
        ("promptkd", {"weight_of_kl": -1.0}, "weight_of_kl"),
        ("fdbpl", {"weighted": True}, "unknown key 'weighted'"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_objective(name, options)


def test_in_the_form_presence_both_prompts_decide_together() -> None:
    """A crop of weight 0 speaks for the negative prompts of all classes, and has no other term."""
    terms = make_objective("fdbpl", {"form": "presence", "presence": 3.0})(prediction(), TARGETS)
    assert set(terms.values) == {"agreement", "presence"}
    assert terms.values["agreement"][1].item() == pytest.approx(0.0, abs=1e-6)
    # Margins of the second crop: -3 and 1.
    rejected = (math.log(1 + math.exp(-3)) + math.log(1 + math.e)) / 2
    assert terms.values["presence"][1].item() == pytest.approx(rejected, rel=1e-5)
    whole = terms.values["agreement"].mean() + 3.0 * terms.values["presence"].mean()
    assert terms.total().item() == pytest.approx(whole.item(), rel=1e-6)


def test_what_the_answer_subtracts_is_no_part_of_the_terms_of_both_prompts() -> None:
    """z+ and z- are the prompts' own logits, whatever of the negative ones is taken from the answer."""
    certain = Targets(labels_B=torch.tensor([0, 1]), teacher_logits_BC=torch.tensor([[99.0, 0.0], [0.0, 99.0]]))
    plain = prediction()
    subtracting = replace(plain, logits_BC=plain.logits_BC - 0.5 * plain.negative(), subtract=0.5)
    for options in ({"margin": 9.0}, {"form": "presence"}):
        one, other = (make_objective("fdbpl", options)(each, certain) for each in (plain, subtracting))
        for name in set(one.values) - {"agreement"}:
            torch.testing.assert_close(one.values[name], other.values[name])
        assert not torch.allclose(one.values["agreement"], other.values["agreement"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kdpl", {}),
        ("kdpl", {"weights": "informative", "direction": "reverse"}),
        ("kdpl", {"weights": "shuffled", "temperature": 2.0}),
        ("promptkd", {"weights": "informative"}),
        *[("fdbpl", {"form": form}) for form in ("corrected", "as_published", "presence")],
        ("fdbpl", {"weights": "none", "direction": "forward"}),
        ("fdbpl", {"weights": "shuffled", "temperature": 2.0}),
    ],
)
@pytest.mark.parametrize("subtract", [0.0, 0.5])
def test_fused_or_not_the_losses_and_their_gradients_are_the_same(
    name: str, options: dict[str, Any], subtract: float
) -> None:
    teacher = Targets(labels_B=torch.arange(6), teacher_logits_BC=5 * torch.randn(6, 7))
    logits = [5 * torch.randn(6, 7) for _ in range(2)]
    found = []
    for fused in (True, False):
        answer, negative = (one.clone().requires_grad_() for one in logits)
        texts = torch.zeros(7, 3)
        predicted = Prediction(
            logits_BC=answer,
            logit_scale=1.0,
            text_features_CD=texts,
            negative_logits_BC=negative,
            negative_text_features_CD=texts,
            subtract=subtract,
        )
        terms = make_objective(name, {**options, "fused": fused})(predicted, teacher)
        terms.total().backward()
        found.append((terms.values, answer.grad, negative.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kdpl", {"weights": "shuffled"}),
        *[("fdbpl", {"form": form}) for form in ("corrected", "as_published", "presence")],
    ],
)
def test_losses_of_students_at_once_are_those_of_one_after_another(name: str, options: dict[str, Any]) -> None:
    """Under vmap over predictions, with one teacher."""
    objective = make_objective(name, {**options, "margin": 9.0} if name == "fdbpl" else options)
    teacher = Targets(labels_B=torch.arange(6), teacher_logits_BC=5 * torch.randn(6, 7))
    stacked = [5 * torch.randn(3, 6, 7), 5 * torch.randn(3, 6, 7), torch.randn(3, 7, 4), torch.randn(3, 7, 4)]
    leaves = [one.requires_grad_() for one in stacked]

    def loss(*of_one: torch.Tensor) -> torch.Tensor:
        logits, negative_logits, texts, negative_texts = of_one
        predicted = Prediction(
            logits_BC=logits,
            logit_scale=5.0,
            text_features_CD=texts,
            negative_logits_BC=negative_logits,
            negative_text_features_CD=negative_texts,
        )
        return objective(predicted, teacher).total()

    found_N = torch.func.vmap(loss)(*leaves)
    expected_N = torch.stack([loss(*of_one) for of_one in zip(*leaves, strict=True)])
    torch.testing.assert_close(found_N, expected_N)
    upstream_N = torch.tensor([1.0, -2.0, 0.5])
    grads = [
        torch.autograd.grad((values_N * upstream_N).sum(), leaves, allow_unused=True, materialize_grads=True)
        for values_N in (found_N, expected_N)
    ]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
