"""Packed prompts give what the tower gives for padded ones: features and gradients, however prompts are made up."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_clips import LAYERS, TEXT_WIDTH, positions_first, small_clip, small_resnet
from torch import Tensor

from fdbpl.pipeline.clip import prompt_features
from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.packed_tower import is_plain, run_packed
from fdbpl.pipeline.clip.packing import group_lengths, pack
from fdbpl.pipeline.clip.prompt_features import compiled_tower, encode_prompts, encode_stacked
from fdbpl.pipeline.clip.prompts import ClassPosition, PromptTokens, context_embedding, prompt_tokens
from fdbpl.pipeline.clip.text_tower import encode_embeddings

NAMES = ("red circle", "green_square", "a very long name of an odd thing", "x", "blue", "a b c", "d e f", "g h")
CHOSEN = torch.tensor([5, 0, 2])
MAKERS: dict[str, Callable[[], Backbone]] = {
    "vit": small_clip,
    "quick_gelu": lambda: small_clip(quick_gelu=True),
    "resnet": small_resnet,
    "positions_first": lambda: positions_first(small_clip()),
}


def random_context(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, TEXT_WIDTH, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def padded(tokens: PromptTokens, context: Tensor, deep: Tensor | None = None) -> Tensor:
    return encode_embeddings(tokens.module, tokens.around(context), tokens.end_C, deep)


def assert_alike(found: Tensor, expected: Tensor, *learned: Tensor) -> None:
    """Features and the gradients of a number that depends on all of them."""
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(9))
    grads = [torch.autograd.grad((value * weights).sum(), learned) for value in (found, expected)]
    for ours, theirs in zip(*grads, strict=True):
        assert bool((theirs.abs().sum(dim=-1) > 0).all())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6 * float(theirs.abs().max()) + 1e-7)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("is_chosen", [False, True])
@pytest.mark.parametrize(("position", "between"), [("end", ""), ("end", "of a"), ("middle", ""), ("front", "")])
def test_one_context_for_all_classes(maker: str, is_chosen: bool, position: ClassPosition, between: str) -> None:
    tokens = prompt_tokens(MAKERS[maker](), NAMES, 3, position=position, between=between)
    tokens = tokens.chosen(CHOSEN) if is_chosen else tokens
    context = random_context(3)
    assert is_plain(tokens.module.transformer)
    assert_alike(encode_prompts(tokens, context), padded(tokens, context), context)


@pytest.mark.parametrize("is_chosen", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_a_context_for_each_class(is_chosen: bool, position: ClassPosition) -> None:
    tokens = prompt_tokens(small_clip(), NAMES, 3, position=position, own_contexts=True)
    tokens = tokens.chosen(CHOSEN) if is_chosen else tokens
    context = random_context(len(tokens.end_C), 3)
    assert_alike(encode_prompts(tokens, context), padded(tokens, context), context)


@pytest.mark.parametrize("is_chosen", [False, True])
def test_deep_prompts(is_chosen: bool) -> None:
    """Of fewer positions than what the prompts share."""
    tokens = prompt_tokens(small_clip(), NAMES, 3, between="of a")
    tokens = tokens.chosen(CHOSEN) if is_chosen else tokens
    context, deep = random_context(3), random_context(LAYERS - 1, 3, seed=1)
    assert_alike(encode_prompts(tokens, context, deep), padded(tokens, context, deep), context, deep)


@pytest.mark.parametrize("is_chosen", [False, True])
def test_stacked_contexts_are_each_by_itself(is_chosen: bool) -> None:
    tokens = prompt_tokens(small_clip(), NAMES, 3)
    tokens = tokens.chosen(CHOSEN) if is_chosen else tokens
    contexts = random_context(4, 3)
    expected = torch.stack([padded(tokens, context) for context in contexts])
    assert_alike(encode_stacked(tokens, contexts), expected, contexts)


@pytest.mark.parametrize("cached", [1, 3000])
def test_contexts_go_through_the_tower_in_parts_where_all_would_not_fit(
    cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, contexts = prompt_tokens(small_clip(), NAMES, 3), random_context(5, 3)
    whole, ran = encode_stacked(tokens, contexts), list[int]()

    def counting(transformer: Any, shared_NPW: Tensor, *arguments: Any) -> Tensor:
        ran.append(len(shared_NPW))
        return run_packed(transformer, shared_NPW, *arguments)

    monkeypatch.setattr(prompt_features, "_CACHED", cached)
    monkeypatch.setattr(prompt_features, "run_packed", counting)
    assert_alike(encode_stacked(tokens, contexts), whole, contexts)
    assert sum(ran) == 5 and 1 < len(ran) <= 5 and (cached > 1 or ran == [1] * 5)


def test_other_layers_take_the_padded_way() -> None:
    backbone = small_clip()
    tokens = prompt_tokens(backbone, NAMES, 3)
    contexts = random_context(2, 3)
    before = encode_stacked(tokens, contexts)
    block = backbone.module.transformer.resblocks[0]
    block.__class__ = type("Block", (type(block),), {})
    assert not is_plain(backbone.module.transformer)
    context = random_context(3)
    assert_alike(encode_prompts(tokens, context), padded(tokens, context), context)
    torch.testing.assert_close(encode_stacked(tokens, contexts), before, rtol=0, atol=2e-6)


def test_the_plain_tower_computes_every_position_and_gives_the_same() -> None:
    backbone = small_clip()
    tokens = prompt_tokens(replace(backbone, text_tower="plain"), NAMES, 3)
    lengths: list[int] = []
    first = backbone.module.transformer.resblocks[0].ln_1
    first.register_forward_pre_hook(lambda _layer, inputs: lengths.append(inputs[0].shape[1]))
    contexts, context, deep = random_context(2, 3), random_context(3), random_context(LAYERS - 1, 3, seed=1)
    packed = prompt_tokens(backbone, NAMES, 3)
    assert_alike(encode_prompts(packed, context, deep), encode_prompts(tokens, context, deep), context, deep)
    assert_alike(encode_stacked(packed, contexts), encode_stacked(tokens, contexts), contexts)
    whole = backbone.module.positional_embedding.shape[0]
    assert [length == whole for length in lengths] == [False, True, False, True]


# torch's own tracing warns of its parts.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_compiled_tower_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own tracing, and without a C++ compiler, which not every machine has."""
    compile_, traced = torch.compile, []

    def tracing(function: Any, **options: Any) -> Any:
        traced.append(function.__name__)
        return compile_(function, backend="aot_eager", dynamic=options["dynamic"])

    monkeypatch.setattr(torch, "compile", tracing)
    compiled_tower.cache_clear()
    backbone = small_clip()
    tokens, packed = (prompt_tokens(replace(backbone, text_tower=how), NAMES, 3) for how in ("compiled", "packed"))
    contexts, context, deep = random_context(2, 3), random_context(3), random_context(LAYERS - 1, 3, seed=1)
    assert_alike(encode_stacked(tokens, contexts), encode_stacked(packed, contexts), contexts)
    assert_alike(encode_prompts(tokens, context, deep), encode_prompts(packed, context, deep), context, deep)
    assert traced == ["run_packed"]
    compiled_tower.cache_clear()


def test_plain_words_give_open_clips_own_features() -> None:
    backbone = small_clip()
    context = context_embedding(backbone, "a photo of a")
    found = encode_prompts(prompt_tokens(backbone, NAMES, len(context)), context)
    expected = backbone.encode_texts([f"a photo of a {name.replace('_', ' ')}." for name in NAMES])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_groups_take_every_class_and_fill_up_a_tenth_at_most(lengths: list[int]) -> None:
    sizes = group_lengths(lengths)
    assert sizes == sorted(set(sizes)) and sizes[-1] == max(lengths)
    taken = sum(min(size for size in sizes if size >= length) for length in lengths)
    assert taken <= 1.1 * sum(lengths) + 1e-9
    packing = pack([length + 2 for length in lengths], 2, torch.device("cpu"))
    assert len(packing.row_S) == taken
    for row, length in enumerate(lengths):
        place = row if packing.back_C is None else int(packing.back_C[row])
        end = int(packing.end_C[place])
        assert (int(packing.row_S[end]), int(packing.position_S[end])) == (row, length + 1)


def test_a_long_name_costs_its_own_positions_alone() -> None:
    assert group_lengths([3] * 100 + [40]) == [3, 40]
