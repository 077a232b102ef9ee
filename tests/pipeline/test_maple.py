import pytest
import torch
from learner_cases import NAMES, build, views
from small_clips import TEXT_WIDTH, WIDTH, hidden_states, small_clip

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.prompts import context_embedding
from fdbpl.pipeline.clip.vision_tower import encode_prompted
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.learners.maple import Maple


def maple(backbone: Backbone, *, dual: bool = False, **options: object) -> Maple:
    learner = build("maple", backbone, dual=dual, **options)
    assert isinstance(learner, Maple)
    return learner


@pytest.mark.parametrize("depth", [1, 3])
def test_with_the_plain_models_own_states_its_text_is_the_hand_written_one(depth: int) -> None:
    backbone = small_clip()
    learner = maple(backbone, dual=True, depth=depth)
    assert learner.negative is not None
    for prompt, words in ((learner.positive, "a photo of a"), (learner.negative, "a photo of no")):
        assert torch.equal(prompt.context, context_embedding(backbone, "a photo"))
        sentences = [f"{words} {name.replace('_', ' ')}." for name in NAMES]
        assert (prompt.deep is None) == (depth == 1)
        if prompt.deep is not None:
            prompt.deep.data = hidden_states(backbone, sentences, 2)[: depth - 1]
        torch.testing.assert_close(prompt(NAMES), backbone.encode_texts(sentences), rtol=0, atol=1e-5)


def test_visual_tokens_are_linear_maps_of_the_positive_text_tokens() -> None:
    backbone = small_clip()
    learner = maple(backbone, dual=True)
    batch = views(backbone)
    assert batch.pixels_BCHW is not None and learner.positive.deep is not None
    assert learner.positive.deep.shape == (2, 2, TEXT_WIDTH)
    tokens_LVW = torch.empty(3, 2, WIDTH)
    for layer, text_MW in enumerate([learner.positive.context, *learner.positive.deep]):
        tokens_LVW[layer] = text_MW.detach() @ learner.maps[layer].weight.detach().T + learner.maps[layer].bias.detach()
    image_BD = encode_prompted(backbone, batch.pixels_BCHW, tokens_LVW)
    classifier, found = learner.classifier(NAMES), learner(batch)
    for logits, text_CD in ((found.logits_BC, classifier["classifier"]), (found.negative(), classifier["negative"])):
        torch.testing.assert_close(logits, 14.0 * image_BD @ text_CD.T, rtol=0, atol=1e-4)


def test_deeper_maps_begin_alike_and_part_while_they_learn() -> None:
    learner = maple(small_clip())
    first, second, third = learner.maps
    assert torch.equal(second.weight, third.weight) and not torch.equal(first.weight, second.weight)
    # As torch's own linear layers of 16 inputs begin.
    assert 0.2 < float(first.weight.detach().abs().max()) <= 0.25
    learner(views(learner.backbone)).logits_BC[:, 0].sum().backward()
    torch.optim.SGD(learner.parameters(), lr=0.1).step()
    assert not torch.equal(second.weight, third.weight)


def test_the_negative_prompt_learns_its_words_and_through_the_shared_image() -> None:
    learner = maple(small_clip(), dual=True)
    found = learner(views(learner.backbone))
    assert learner.negative is not None
    found.logits_BC[:, 0].sum().backward(retain_graph=True)
    assert learner.negative.context.grad is None
    found.negative()[:, 0].sum().backward()
    assert learner.negative.context.grad is not None and bool(learner.negative.context.grad.any())


def test_words_that_end_elsewhere_are_refused() -> None:
    with pytest.raises(
        ValueError, match="num_context = 5 for the words 'a photo of a', whose words end with token 1, 2"
    ):
        maple(small_clip(), num_context=5)


def test_published_defaults() -> None:
    assert vars(learner_options("maple", {})) == {
        "context": "a photo of a",
        "num_context": 2,
        "negative_context": "a photo of no",
        "depth": 9,
    }
