from dataclasses import replace

import pytest
import torch
from learner_cases import NAMES, TEACHER_WIDTH, build, teacher_texts, views
from small_clips import WIDTH, small_clip
from torch import Tensor
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.vision_tower import encode_prompted
from fdbpl.pipeline.learners.base import LearnerContext
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.learners.promptkd import PromptKdStudent


def student() -> PromptKdStudent:
    learner = build("promptkd")
    assert isinstance(learner, PromptKdStudent)
    return learner


def by_hand(learner: PromptKdStudent, mean: Tensor, variance: Tensor) -> Tensor:
    """Logits with a projector that normalises by these."""
    state = {name: value.detach() for name, value in learner.state_dict().items()}
    batch = views(learner.backbone)
    assert batch.pixels_BCHW is not None
    image_BD = encode_prompted(learner.backbone, batch.pixels_BCHW, state["visual"])
    hidden = (image_BD @ state["projector.0.weight"].T - mean) / (variance + 1e-5).sqrt()
    hidden = (hidden * state["projector.1.weight"] + state["projector.1.bias"]).clamp(min=0)
    features_BE = hidden @ state["projector.3.weight"].T + state["projector.3.bias"]
    return 14.0 * normalize(features_BE, dim=-1) @ teacher_texts(NAMES).T


def test_in_training_it_normalises_by_the_batch_and_later_by_what_it_has_seen() -> None:
    learner = student()
    batch = views(learner.backbone)
    assert batch.pixels_BCHW is not None
    assert learner.visual.shape == (3, 4, WIDTH)
    image_BD = encode_prompted(learner.backbone, batch.pixels_BCHW, learner.visual).detach()
    hidden = image_BD @ learner.projector[0].weight.detach().T
    mean, variance = hidden.mean(dim=0), hidden.var(dim=0, unbiased=False)
    torch.testing.assert_close(learner.train()(batch).logits_BC, by_hand(learner, mean, variance), rtol=0, atol=1e-4)
    # A tenth of the way from the start (0 and 1) to the batch's own, of which the variance is the unbiased one.
    seen = 0.1 * mean, 0.9 + 0.1 * variance * 6 / 5
    torch.testing.assert_close(learner.eval()(batch).logits_BC, by_hand(learner, *seen), rtol=0, atol=1e-4)
    assert {"projector.1.running_mean", "projector.1.running_var"} < set(learner.state_dict())
    assert set(learner.prompts()) == {
        "visual",
        "projector.0.weight",
        "projector.1.weight",
        "projector.1.bias",
        "projector.3.weight",
        "projector.3.bias",
    }


def test_its_classifier_is_the_teachers() -> None:
    found = student().classifier(["something new", "dog"])
    assert found["classifier"].shape == (2, TEACHER_WIDTH)
    assert torch.equal(found["classifier"], teacher_texts(["something new", "dog"]))


def test_one_view_alone_cannot_be_trained_on() -> None:
    learner = student()
    batch = views(learner.backbone, 2)
    assert batch.pixels_BCHW is not None
    alone = replace(batch, pixels_BCHW=batch.pixels_BCHW[:1])
    with pytest.raises(ValueError, match="found a batch of 1 view, expected 2 or more"):
        learner.train()(alone)
    assert learner.eval()(alone).logits_BC.shape == (1, 5)


def test_without_a_teacher_it_is_refused() -> None:
    context = LearnerContext(backbone=small_clip(), class_names=NAMES)
    with pytest.raises(ValueError, match="learner promptkd without a teacher"):
        learner_options("promptkd", {"depth": 2}).build(context)


def test_published_defaults() -> None:
    assert vars(learner_options("promptkd", {})) == {"num_tokens": 4, "depth": 9}
