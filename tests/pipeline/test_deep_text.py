"""Deep text prompts: with open_clip's own hidden states as prompts, its own features come out."""

from collections.abc import Callable

import pytest
import torch
from small_clips import LAYERS, TEXT_WIDTH, hidden_states, positions_first, small_clip, small_resnet
from torch import Tensor

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.deep_prompts import check_depth
from fdbpl.pipeline.clip.prompts import context_embedding, prompt_tokens
from fdbpl.pipeline.clip.text_tower import encode_embeddings

NAMES = ("red circle", "green_square", "a very long name of an odd thing", "x")
MAKERS = {"vit": small_clip, "quick_gelu": lambda: small_clip(quick_gelu=True), "resnet": small_resnet}


def features(backbone: Backbone, deep: Tensor | None, context: Tensor) -> Tensor:
    tokens = prompt_tokens(backbone, NAMES, len(context))
    return encode_embeddings(backbone.module, tokens.around(context), tokens.end_C, deep)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("depth", [1, 2, LAYERS])
def test_the_towers_own_states_as_prompts_give_its_own_features(maker: str, depth: int) -> None:
    make: Callable[[], Backbone] = MAKERS[maker]
    backbone = make()
    context = context_embedding(backbone, "a photo of a")
    sentences = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    deep = hidden_states(backbone, sentences, len(context))[: depth - 1]
    torch.testing.assert_close(features(backbone, deep, context), backbone.encode_texts(sentences), rtol=0, atol=1e-5)


def test_a_full_size_tower_agrees_too() -> None:
    """ViT-B-32's text tower at random weights: 12 layers of width 512, prompts in all of them."""
    backbone = small_clip(text={"layers": 12, "width": 512, "heads": 8})
    context = context_embedding(backbone, "a photo of a")
    sentences = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    deep = hidden_states(backbone, sentences, len(context))
    assert deep.shape == (11, 4, 512)
    torch.testing.assert_close(features(backbone, deep, context), backbone.encode_texts(sentences), rtol=0, atol=1e-5)


def test_prompts_of_fewer_positions_than_the_context_leave_the_rest() -> None:
    """MaPLe learns the first two of four words."""
    backbone = small_clip()
    context = context_embedding(backbone, "a photo of a")
    sentences = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    deep = hidden_states(backbone, sentences, 2)
    torch.testing.assert_close(features(backbone, deep, context), backbone.encode_texts(sentences), rtol=0, atol=1e-5)


def test_gradients_reach_every_prompt_and_each_layers_own_decide() -> None:
    backbone = small_clip()
    context = context_embedding(backbone, "a photo of a").requires_grad_()
    generator = torch.Generator().manual_seed(3)
    deep = torch.randn(LAYERS - 1, 4, TEXT_WIDTH, generator=generator).requires_grad_()
    before = features(backbone, deep, context)
    before[:, 0].sum().backward()
    for prompts in (context, deep):
        assert prompts.grad is not None and bool((prompts.grad.abs().sum(dim=-1) > 0).all())
    for layer in range(LAYERS - 1):
        changed = deep.detach().clone()
        changed[layer, 3, 0] += 3.0
        assert bool(((features(backbone, changed, context) - before).abs().amax(dim=-1) > 1e-4).all())


def test_the_other_layout_of_transformers_gives_the_same() -> None:
    context = context_embedding(small_clip(), "a photo of a")
    deep = torch.randn(2, 4, TEXT_WIDTH, generator=torch.Generator().manual_seed(3))
    found = features(positions_first(small_clip()), deep, context)
    torch.testing.assert_close(found, features(small_clip(), deep, context), rtol=0, atol=1e-6)


@pytest.mark.parametrize("depth", [0, 5])
def test_a_depth_beyond_the_layers_is_refused_with_their_number(depth: int) -> None:
    transformer = small_clip().module.transformer
    check_depth(transformer, LAYERS, option="depth", tower="the text tower of small")
    with pytest.raises(ValueError, match=f"found depth = {depth}, expected 1 to 4, the number of layers of the text"):
        check_depth(transformer, depth, option="depth", tower="the text tower of small")
