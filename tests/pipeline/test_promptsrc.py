from dataclasses import replace

import pytest
import torch
from learner_cases import NAMES, build, views
from small_clips import WIDTH, hidden_states, small_clip
from torch import nn
from torch.nn.functional import kl_div, l1_loss, log_softmax

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.vision_tower import encode_prompted
from fdbpl.pipeline.clip.zero_shot import imagenet_templates, text_classifier
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.learners.promptsrc import PromptSrc


def promptsrc(backbone: Backbone, *, dual: bool = False, **options: object) -> PromptSrc:
    learner = build("promptsrc", backbone, dual=dual, **options)
    assert isinstance(learner, PromptSrc)
    return learner


def test_with_the_plain_models_own_states_it_is_the_zero_shot_classifier() -> None:
    backbone = small_clip()
    learner = promptsrc(backbone, dual=True, text_depth=3)
    batch = views(backbone)
    learner.visual = nn.Parameter(torch.empty(3, 0, WIDTH))
    assert batch.pixels_BCHW is not None and learner.negative is not None
    image_BD = backbone.encode_pixels(batch.pixels_BCHW)
    expected = []
    for prompt, words in ((learner.positive, "a photo of a"), (learner.negative, "a photo of no")):
        sentences = [f"{words} {name.replace('_', ' ')}." for name in NAMES]
        assert prompt.deep is not None
        prompt.deep.data = hidden_states(backbone, sentences, 4)[:2]
        expected.append(14.0 * image_BD @ backbone.encode_texts(sentences).T)
    found = learner.train()(replace(batch, features_BD=image_BD))
    torch.testing.assert_close(found.logits_BC, expected[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.negative(), expected[1], rtol=0, atol=1e-4)
    assert float(found.own_terms["image_consistency"].detach().max()) < 1e-6


def test_its_own_terms_hold_it_near_the_frozen_model() -> None:
    backbone = small_clip()
    learner = promptsrc(backbone, text_weight=2.0, logit_weight=3.0).train()
    batch = views(backbone)
    assert batch.pixels_BCHW is not None and batch.features_BD is not None
    found = learner(batch)
    image_BD = encode_prompted(backbone, batch.pixels_BCHW, learner.visual)
    text_CD = learner.classifier(NAMES)["classifier"]
    frozen_CD = text_classifier(backbone, NAMES, imagenet_templates(60))
    frozen, prompted = batch.features_BD @ frozen_CD.T, image_BD @ text_CD.T
    torch.testing.assert_close(found.logits_BC, 14.0 * prompted, rtol=0, atol=1e-5)
    expected = {
        "text_consistency": l1_loss(text_CD, frozen_CD),
        "image_consistency": l1_loss(image_BD, batch.features_BD),
        "logit_consistency": kl_div(
            log_softmax(14.0 * prompted, dim=1), log_softmax(14.0 * frozen, dim=1), reduction="sum", log_target=True
        )
        / (6 * 5),
    }
    means = {name: term.mean() for name, term in found.own_terms.items()}
    torch.testing.assert_close(means, expected, rtol=1e-5, atol=1e-6)
    assert {name: term.ndim for name, term in found.own_terms.items()} == {
        "text_consistency": 0,
        "image_consistency": 1,
        "logit_consistency": 1,
    }
    assert found.own_weights == {"text_consistency": 2.0, "image_consistency": 10.0, "logit_consistency": 3.0}


def test_the_negative_prompt_is_not_held_and_evaluation_has_no_terms() -> None:
    learner = promptsrc(small_clip(), dual=True)
    assert learner.negative is not None
    batch = views(learner.backbone)
    sum(term.mean() for term in learner.train()(batch).own_terms.values()).backward()
    assert learner.positive.context.grad is not None and learner.visual.grad is not None
    assert learner.negative.context.grad is None
    assert learner.eval()(replace(batch, features_BD=None)).own_terms == {}


def test_the_frozen_text_is_encoded_once() -> None:
    learner = promptsrc(small_clip()).train()
    passes: list[int] = []
    tower = learner.backbone.module.transformer
    hook = tower.register_forward_pre_hook(lambda _tower, inputs: passes.append(len(inputs[0])))
    for chosen_K in (None, torch.tensor([1, 2]), None):
        learner(views(learner.backbone), chosen_K)
    hook.remove()
    assert passes == [5] * 60, "the learned prompts run layer by layer, the 60 templates as whole passes"


def test_the_templates_are_openais_first_sixty() -> None:
    templates = imagenet_templates(60)
    assert len(set(templates)) == 60
    assert templates[0] == "a bad photo of a {}." and templates[59] == "itap of the {}."
    assert "a photo of a {}." in templates and "a photo of a small {}." not in templates
    assert len(imagenet_templates()) == 80


def test_epochs_count_by_a_gaussian() -> None:
    learner = promptsrc(small_clip())
    weights = [learner.epoch_weight(epoch, 20) for epoch in range(20)]
    assert weights[12:17] == pytest.approx([0.0539910, 0.2419707, 0.3989423, 0.2419707, 0.0539910], abs=1e-6)
    assert sum(weight or 0.0 for weight in weights) == pytest.approx(1.0)
    # Far from the mean, the epochs nearest to it count: exp(-25 / 2) to 1 of the distances 13 and 12.
    assert [learner.epoch_weight(epoch, 3) for epoch in range(3)] == pytest.approx(
        [0.0, 3.7266e-6, 1.0], rel=1e-4, abs=1e-9
    )
    narrow = promptsrc(small_clip(), average_sd=0.01)
    assert [narrow.epoch_weight(epoch, 2) for epoch in range(2)] == [0.0, 1.0]
    assert promptsrc(small_clip(), average=False).epoch_weight(0, 20) is None


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("text_weight", -1.0, "found text_weight = -1.0, expected 0 or more"),
        ("average_sd", 0.0, "found average_sd = 0.0, expected a positive number"),
        ("num_tokens", 0, "found num_tokens = 0, expected 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learner_options("promptsrc", {option: value})


def test_published_defaults() -> None:
    options = vars(learner_options("promptsrc", {}))
    assert {name: options[name] for name in ("num_context", "num_tokens", "text_depth", "visual_depth")} == {
        "num_context": 4,
        "num_tokens": 4,
        "text_depth": 9,
        "visual_depth": 9,
    }
    assert [options[name] for name in ("text_weight", "image_weight", "logit_weight")] == [25.0, 10.0, 1.0]
    assert [options[name] for name in ("average", "average_mean", "average_sd")] == [True, 15.0, 1.0]
