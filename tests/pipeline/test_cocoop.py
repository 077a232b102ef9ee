import pytest
import torch
from learner_cases import NAMES, build, views
from small_clips import small_clip, small_resnet
from torch import Tensor

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.prompts import prompt_tokens
from fdbpl.pipeline.clip.text_tower import encode_embeddings
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.learners.cocoop import CoCoOp
from fdbpl.pipeline.values import Prediction


def cocoop(backbone: Backbone, *, dual: bool = False, **options: int) -> CoCoOp:
    learner = build("cocoop", backbone, dual=dual, **options)
    assert isinstance(learner, CoCoOp)
    return learner


@pytest.mark.parametrize("make", [small_clip, small_resnet])
def test_without_a_shift_it_is_the_zero_shot_classifier_of_its_words(make: type) -> None:
    backbone = make()
    learner = cocoop(backbone, dual=True)
    with torch.no_grad():
        for value in learner.net[2].parameters():
            value.zero_()
    batch = views(backbone)
    assert batch.features_BD is not None
    found = learner(batch)
    for logits, words in ((found.logits_BC, "a photo of a {}."), (found.negative(), "a photo of no {}.")):
        expected = 14.0 * batch.features_BD @ text_classifier(backbone, NAMES, [words]).T
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_each_image_shifts_the_tokens_of_both_contexts_by_its_own() -> None:
    backbone = small_clip()
    learner = cocoop(backbone, dual=True)
    assert learner.negative is not None
    batch = views(backbone)
    assert batch.features_BD is not None
    found = learner(batch)
    first, second = learner.net[0], learner.net[2]
    assert first.weight.shape == (2, 32) and second.weight.shape == (16, 2)
    tokens = prompt_tokens(backbone, NAMES, 4)
    for image, feature in enumerate(batch.features_BD):
        hidden = (first.weight @ feature + first.bias).clamp(min=0)
        shift = second.weight @ hidden + second.bias
        for logits, context in ((found.logits_BC, learner.positive), (found.negative(), learner.negative)):
            text = encode_embeddings(backbone.module, tokens.around(context + shift), tokens.end_C)
            torch.testing.assert_close(logits[image], 14.0 * text @ feature, rtol=0, atol=1e-4)


def run(learner: CoCoOp) -> tuple[Prediction, list[Tensor | None], list[int], int]:
    """A step: what it says, its gradients, of how many images prompts were encoded at once, and what the graph kept."""
    at_once: list[int] = []
    kept = 0

    def keep(value: Tensor) -> Tensor:
        nonlocal kept
        kept += value.numel() * value.element_size()
        return value

    first = learner.backbone.module.transformer.resblocks[0].ln_1
    hook = first.register_forward_pre_hook(lambda _layer, inputs: at_once.append(len(inputs[0])))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        prediction = learner(views(learner.backbone))
    prediction.logits_BC.square().sum().backward()
    hook.remove()
    return prediction, [value.grad for value in learner.parameters()], at_once, kept


def test_chunks_bound_the_memory_and_change_nothing() -> None:
    """Six images of five classes: chunks of two images, or of one where not even one image's prompts fit."""
    backbone = small_clip()
    expected, gradients, at_once, kept = run(cocoop(backbone))
    assert at_once == [6]
    for prompts_at_once, sizes in ((12, [2] * 6), (1, [1] * 12)):
        found, others, at_once, kept_of_chunks = run(cocoop(backbone, prompts_at_once=prompts_at_once))
        assert at_once == sizes, "each chunk once, and again in the backward pass"
        assert kept_of_chunks < kept / 20
        torch.testing.assert_close(found.logits_BC, expected.logits_BC, rtol=0, atol=1e-5)
        torch.testing.assert_close(others, gradients, rtol=1e-4, atol=1e-4)


def test_an_option_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="found prompts_at_once = 0, expected 1 or more"):
        learner_options("cocoop", {"prompts_at_once": 0})
