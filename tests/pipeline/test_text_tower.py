"""The tower fed with embeddings against open_clip's own, fed with tokens; ViT and ResNet share it."""

from pathlib import Path

import open_clip
import pytest
import torch

from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.clip.prompts import context_embedding, prompt_tokens
from fdbpl.pipeline.clip.text_tower import check_text_tower, encode_embeddings
from fdbpl.pipeline.config import ModelConfig

NAMES = ("red circle", "green_square", "a very long name of an odd thing", "x")


@pytest.fixture(scope="module")
def student(shared: Path) -> Backbone:
    return load_backbone(
        ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    )


def test_plain_words_give_open_clips_own_features(student: Backbone) -> None:
    context = context_embedding(student, "a photo of a")
    tokens = prompt_tokens(student, NAMES, len(context))
    found = encode_embeddings(student.module, tokens.around(context), tokens.end_C)
    expected = student.encode_texts([f"a photo of a {name.replace('_', ' ')}." for name in NAMES])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_full_size_tower_agrees_too() -> None:
    """ViT-B-32's text tower at random weights: 12 layers, 77 positions, of which 12 are computed."""
    torch.manual_seed(0)
    module = open_clip.create_model("ViT-B-32", pretrained_image=False, load_weights=False).eval()
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a photo of a dog.", "a photo of a very small cat."])
    end = tokens.argmax(dim=-1)
    with torch.no_grad():
        expected = module.encode_text(tokens, normalize=True)
        embeddings = module.token_embedding(tokens)[:, : int(end.max()) + 1]
        found = encode_embeddings(module, embeddings, end)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_only_the_end_token_decides_where_a_prompt_ends(student: Backbone) -> None:
    """A shorter name is padded up to the longest: its features must not notice."""
    context = context_embedding(student, "a photo of a")
    together = prompt_tokens(student, NAMES, len(context))
    alone = prompt_tokens(student, NAMES[-1:], len(context))
    found = encode_embeddings(student.module, together.around(context), together.end_C)[-1:]
    expected = encode_embeddings(student.module, alone.around(context), alone.end_C)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_gradient_reaches_the_context(student: Backbone) -> None:
    context = context_embedding(student, "a photo of a").requires_grad_()
    tokens = prompt_tokens(student, NAMES, len(context))
    features = encode_embeddings(student.module, tokens.around(context), tokens.end_C)
    features[:, 0].sum().backward()
    assert context.grad is not None and bool((context.grad.abs().sum(dim=-1) > 0).all())


def test_a_prompt_beyond_the_context_length_is_refused_by_name(student: Backbone) -> None:
    with pytest.raises(ValueError, match="the prompt of class 'word word"):
        prompt_tokens(student, ["dog", "word " * 40], 4)
    with pytest.raises(ValueError, match="at least one word"):
        context_embedding(student, "")


def test_other_text_towers_are_refused() -> None:
    with pytest.raises(ValueError, match="own causal text tower"):
        check_text_tower(torch.nn.Linear(1, 1))
