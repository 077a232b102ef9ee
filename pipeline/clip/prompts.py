"""Class names as token sequences around a context that a learner replaces.

'a photo of a' + 'red circle' becomes: start, a, photo, of, a, red, circle, '.', end; the four context tokens
stand at positions 1 to 4 in every class. Letters: C classes, T positions, M context tokens, W tower width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.text_tower import check_text_tower, embed_tokens


@dataclass(frozen=True, kw_only=True)
class PromptTokens:
    """What surrounds the context: embeddings before it, after it, and where each prompt ends."""

    class_names: tuple[str, ...]
    start_C1W: Tensor
    rest_CRW: Tensor
    end_C: Tensor

    def around(self, context_MW: Tensor) -> Tensor:
        """The embeddings [C, 1 + M + R, W] of every class with this context."""
        context_CMW = context_MW.unsqueeze(0).expand(len(self.class_names), -1, -1)
        return torch.cat([self.start_C1W, context_CMW, self.rest_CRW], dim=1)


def readable(class_name: str) -> str:
    """A class name as prompted: data sets write spaces as underscores."""
    return class_name.replace("_", " ").strip()


def context_embedding(backbone: Backbone, words: str) -> Tensor:
    """The token embeddings [M, W] float32 of some words: where a context starts.

    Raises:
        ValueError: no word at all.
    """
    tokens = _encode(backbone.tokenizer, words)
    if not tokens:
        raise ValueError(f"found the context {words!r}, expected at least one word to start from")
    return embed_tokens(backbone.module, torch.tensor([tokens], device=backbone.device))[0]


def prompt_tokens(backbone: Backbone, class_names: Sequence[str], num_context: int) -> PromptTokens:
    """Tokenise class names behind a context of `num_context` tokens.

    Raises:
        ValueError: a model with another kind of text tower, or a prompt longer than the model's context.
    """
    check_text_tower(backbone.module)
    names = [_encode(backbone.tokenizer, f"{readable(name)}.") for name in class_names]
    longest = int(backbone.module.positional_embedding.shape[0])
    for name, tokens in zip(class_names, names, strict=True):
        if 2 + num_context + len(tokens) > longest:
            raise ValueError(
                f"the prompt of class {name!r} has {2 + num_context + len(tokens)} tokens, expected at most "
                f"{longest}, the context length of {backbone.model}: shorten the name or the learned context"
            )
    width = max(map(len, names)) + 1
    start, end = backbone.tokenizer.sot_token_id, backbone.tokenizer.eot_token_id
    rest = torch.tensor([[*tokens, end] + [0] * (width - 1 - len(tokens)) for tokens in names])
    ones = torch.full((len(names), 1), start)
    return PromptTokens(
        class_names=tuple(class_names),
        start_C1W=embed_tokens(backbone.module, ones.to(backbone.device)),
        rest_CRW=embed_tokens(backbone.module, rest.to(backbone.device)),
        end_C=torch.tensor([1 + num_context + len(tokens) for tokens in names], device=backbone.device),
    )


def _encode(tokenizer: Any, text: str) -> list[int]:
    tokens: list[int] = tokenizer.encode(text)
    return tokens
