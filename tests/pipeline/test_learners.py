"""What holds of every learner, on small CLIPs with random weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from learner_cases import NAMES, SMALL, WITH_PIXELS, WITH_TEXT, build, loss_of, views
from small_clips import LAYERS, small_clip, small_resnet

from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.learners.catalog import LEARNERS, learner_options
from fdbpl.pipeline.training.checkpoint import load_into, read_prompts, save_prompts

each = pytest.mark.parametrize("name", SMALL)
with_text = pytest.mark.parametrize("name", WITH_TEXT)


def test_the_catalogue_tells_what_each_learner_is() -> None:
    assert set(LEARNERS) == set(SMALL)
    for name, entry in LEARNERS.items():
        assert build(name).needs == entry.needs, name
        assert entry.learns_text == (name in WITH_TEXT)
        assert learner_options(name, {}).name == name


@pytest.mark.parametrize(("name", "dual"), [*((name, False) for name in SMALL), *((name, True) for name in WITH_TEXT)])
def test_gradients_reach_all_that_is_learned_and_none_of_the_model(name: str, dual: bool) -> None:
    learner = build(name, dual=dual)
    loss_of(learner.train()(views(learner.backbone))).backward()
    for parameter, value in learner.prompts().items():
        assert value.dtype == torch.float32
        assert value.grad is not None and float(value.grad.abs().max()) > 1e-6, parameter
    assert all(value.grad is None for value in learner.backbone.module.parameters())


@each
def test_what_is_saved_is_all_of_it(name: str, tmp_path: Path) -> None:
    """Trained by a step, saved and loaded, it says the same bit for bit."""
    learner = build(name, dual=name in WITH_TEXT)
    batch = views(learner.backbone)
    loss_of(learner.train()(batch)).backward()
    torch.optim.SGD(learner.parameters(), lr=0.1).step()
    save_prompts(tmp_path / "prompts.safetensors", learner, {})
    again = build(name, learner.backbone, dual=name in WITH_TEXT, seed=1)
    load_into(again, read_prompts(tmp_path / "prompts.safetensors")[0])
    found, expected = again.eval()(batch), learner.eval()(batch)
    assert torch.equal(found.logits_BC, expected.logits_BC)
    assert not torch.equal(
        found.logits_BC, build(name, learner.backbone, dual=name in WITH_TEXT).eval()(batch).logits_BC
    )


@each
def test_initial_values_follow_from_the_seed_alone(name: str) -> None:
    options = {"context": ""} if name in WITH_TEXT else {}
    backbone = small_clip()

    def start(seed: int) -> dict[str, torch.Tensor]:
        return build(name, backbone, dual=name in WITH_TEXT, seed=seed, **options).state_dict()

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = start(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = start(3), start(4)
    for part, value in first.items():
        assert torch.equal(again[part], value)
        fixed = "projector.1." in part  # batch normalisation begins with ones and zeros
        assert fixed or not torch.equal(other[part], value), part


@each
def test_any_class_names_can_be_asked_about(name: str) -> None:
    learner = build(name).eval()
    batch = views(learner.backbone)
    with torch.no_grad():
        wide = learner.predict(batch, learner.texts(["something new", *NAMES])).logits_BC
        assert wide.shape == (6, 6)
        torch.testing.assert_close(wide[:, 1:], learner(batch).logits_BC, rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@each
def test_chosen_classes_are_columns_of_the_whole(name: str, training: bool) -> None:
    learner = build(name, dual=name in WITH_TEXT).train(training)
    batch = views(learner.backbone)
    chosen_K = torch.tensor([3, 0])
    whole, part = learner(batch), learner(batch, chosen_K)
    torch.testing.assert_close(part.logits_BC, whole.logits_BC[:, chosen_K], rtol=0, atol=1e-5)
    if whole.text_features_CD is not None:
        assert part.text_features_CD is not None
        torch.testing.assert_close(part.text_features_CD, whole.text_features_CD[chosen_K], rtol=0, atol=1e-5)
    if name in WITH_TEXT:
        torch.testing.assert_close(part.negative(), whole.negative()[:, chosen_K], rtol=0, atol=1e-5)


@with_text
def test_the_dual_form_has_a_negative_prompt_beside_the_same_positive_one(name: str) -> None:
    backbone = small_clip()
    single, dual = (build(name, backbone, dual=dual).eval() for dual in (False, True))
    batch = views(backbone)
    torch.testing.assert_close(dual(batch).logits_BC, single(batch).logits_BC, rtol=0, atol=0)
    assert single(batch).negative_logits_BC is None
    assert (dual(batch).negative() - dual(batch).logits_BC).abs().max() > 1e-3
    for parameter, value in dual.prompts().items():
        value.data.mul_(0.5 if parameter.startswith("negative") else 1.0)
    torch.testing.assert_close(dual(batch).logits_BC, single(batch).logits_BC, rtol=0, atol=0)


@each
def test_a_classifier_is_what_predictions_are_made_with(name: str) -> None:
    learner = build(name, dual=name in WITH_TEXT).eval()
    if name == "cocoop":
        with pytest.raises(ValueError, match="text features depend on the image"):
            learner.classifier(NAMES)
        return
    found, expected = learner.classifier(NAMES), learner(views(learner.backbone))
    assert expected.text_features_CD is not None
    assert torch.equal(found["classifier"], expected.text_features_CD.detach())
    assert not found["classifier"].requires_grad
    if name in WITH_TEXT:
        assert expected.negative_text_features_CD is not None
        assert torch.equal(found["negative"], expected.negative_text_features_CD.detach())


@pytest.mark.parametrize("name", ["vpt", "promptkd"])
def test_learners_without_text_refuse_negative_prompts(name: str) -> None:
    with pytest.raises(ValueError, match=f"negative prompts for the learner {name}.*learns no text"):
        build(name, dual=True)


@pytest.mark.parametrize("name", WITH_PIXELS)
def test_depths_as_published_are_refused_by_small_towers_with_the_number_of_layers(name: str) -> None:
    context = LearnerContext(
        backbone=small_clip(), class_names=NAMES, teacher_texts=lambda names: torch.eye(len(names))
    )
    depth = 12 if name == "vpt" else 9
    with pytest.raises(ValueError, match=f"depth = {depth}, expected 1 to {LAYERS}, the number of layers of the"):
        learner_options(name, {}).build(context)


@pytest.mark.parametrize("name", WITH_PIXELS)
def test_visual_tokens_need_a_vision_transformer(name: str) -> None:
    with pytest.raises(ValueError, match="found the image encoder ModifiedResNet"):
        build(name, small_resnet())


@pytest.mark.parametrize("name", ["coop", "cocoop"])
def test_text_prompts_are_learned_over_a_resnet_too(name: str) -> None:
    learner = build(name, small_resnet())
    learner(views(learner.backbone)).logits_BC.sum().backward()
    assert all(value.grad is not None for value in learner.parameters())


@each
def test_half_precision_stays_near(name: str) -> None:
    backbone = small_clip()
    whole, half = (build(name, replace(backbone, precision=precision)).eval() for precision in ("fp32", "bf16"))
    batch = views(backbone)
    found, exact = half(batch).logits_BC, whole(batch).logits_BC
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 0.05 * backbone.logit_scale


@each
def test_what_each_part_begins_as_is_told(name: str) -> None:
    dual = name in WITH_TEXT
    learner: Learner = build(name, dual=dual)
    told = learner_options(name, SMALL[name]).starts(dual=dual)
    assert set(told) <= {part.split(".")[0] for part in learner.state_dict()}
    assert ("negative" in told) == dual
    changed = {"depth": 2} if name in ("vpt", "maple", "promptkd") else {"context": "an odd picture"}
    other = {**SMALL[name], **changed, **({"num_context": 2} if name == "promptsrc" else {})}
    assert learner_options(name, other).starts(dual=dual) != told
