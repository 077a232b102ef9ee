"""A learned context before class names with deep prompts: the text side of MaPLe and PromptSRC.

Letters: C classes, K chosen classes, D embedding, M context tokens, W width of the text tower.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.deep_prompts import check_depth
from fdbpl.pipeline.clip.prompt_features import encode_prompts
from fdbpl.pipeline.clip.prompts import PromptTokens, context_embedding, encode, prompt_tokens
from fdbpl.pipeline.clip.text_tower import check_text_tower
from fdbpl.pipeline.learners.initial_values import random_tokens, text_width


class TextPrompt(nn.Module):
    """A learned context before class names, and what stands for it at the inputs of deeper layers.

    `context` [M, W] starts from words, or from random values where there are none; `deep` [depth - 1, M, W], None at
    depth 1, always from random ones. Of words with more than M tokens the rest stays as text between the two.
    """

    def __init__(
        self, backbone: Backbone, words: str, *, num_context: int, depth: int, option: str, random: torch.Generator
    ) -> None:
        """`option` is what sets `depth`, for messages.

        Raises:
            ValueError: a model with another kind of text tower, a depth beyond its layers, or words of which none end
                with the last learned token.
        """
        super().__init__()
        check_text_tower(backbone.module)
        check_depth(backbone.module.transformer, depth, option=option, tower=f"the text tower of {backbone.model}")
        self._backbone = backbone
        width = text_width(backbone)
        learned, self._rest = split_words(backbone, words, num_context) if words else ("", "")
        start_MW = (
            context_embedding(backbone, learned) if words else random_tokens(backbone, random, num_context, width)
        )
        self.context = nn.Parameter(start_MW)
        self.deep = None
        if depth > 1:
            self.deep = nn.Parameter(random_tokens(backbone, random, depth - 1, num_context, width))
        self._tokens = lru_cache(maxsize=8)(self._tokenise)

    def forward(self, class_names: tuple[str, ...], chosen_K: Tensor | None = None) -> Tensor:
        """Unit text features [C, D] of the names, or [K, D] of those chosen."""
        tokens = self._tokens(class_names)
        if chosen_K is not None:
            tokens = tokens.chosen(chosen_K)
        with self._backbone.autocast():
            return encode_prompts(tokens, self.context, self.deep)

    def layers(self) -> list[Tensor]:
        """The tokens [M, W] of each layer that has its own."""
        return [self.context, *(() if self.deep is None else self.deep.unbind())]

    def _tokenise(self, class_names: tuple[str, ...]) -> PromptTokens:
        return prompt_tokens(self._backbone, class_names, len(self.context), between=self._rest)


def split_words(backbone: Backbone, words: str, num_tokens: int) -> tuple[str, str]:
    """The first words that have exactly so many tokens, and the others.

    Raises:
        ValueError: no word ends there.
    """
    parts = words.split()
    ends = [len(encode(backbone.tokenizer, " ".join(parts[: count + 1]))) for count in range(len(parts))]
    if num_tokens not in ends:
        raise ValueError(
            f"found num_context = {num_tokens} for the words {words!r}, whose words end with token "
            f"{', '.join(map(str, ends))}, expected one of these numbers: as many tokens are learned"
        )
    count = ends.index(num_tokens) + 1
    return " ".join(parts[:count]), " ".join(parts[count:])


def text_starts(words: str, negative_words: str, num_context: int, depth: int, *, dual: bool) -> dict[str, str]:
    """What the prompts begin as, by their names, for `LearnerOptions.starts`."""
    shape = f"{num_context} tokens at {depth} layers"
    both = {"positive": words} | ({"negative": negative_words} if dual else {})
    return {name: f"{start}, {shape}" if words else shape for name, start in both.items()}
