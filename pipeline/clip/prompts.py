"""Class names as token sequences around a context that a learner replaces.

'a photo of a' + 'red circle' becomes: start, a, photo, of, a, red, circle, '.', end; the four context tokens
stand at positions 1 to 4 in every class. They may also stand behind the name, or half of them on each side.
Letters: N contexts, C classes, K chosen classes, T positions, P shared positions, S packed positions, M context tokens,
W tower width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.packing import Packing, pack, pack_evenly
from fdbpl.pipeline.clip.text_tower import check_text_tower, embed_tokens
from fdbpl.pipeline.config import TextTower

ClassPosition = Literal["end", "middle", "front"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptTokens:
    """Token ids of every prompt, with zeros where its context stands.

    Attributes:
        module: the open_clip model that embeds them.
        ids_CT: tokens, int64 [C, T].
        context_CM: positions of the context's tokens in each prompt, int64.
        end_C: position of each prompt's end token, int64.
        packing: the prompts without waste; what they share holds the context where that is the same for all classes and
            stands before every name.
        text_tower: how they are encoded, `packed` or `plain`.
    """

    module: Any
    ids_CT: Tensor
    context_CM: Tensor
    end_C: Tensor
    packing: Packing
    text_tower: TextTower

    def around(self, context: Tensor) -> Tensor:
        """The embeddings [C, T, W] of every prompt with this context, [M, W] for all or [C, M, W] for each."""
        embedded_CTW = embed_tokens(self.module, self.ids_CT)
        num_classes, _, width = embedded_CTW.shape
        index_CMW = self.context_CM.unsqueeze(-1).expand(-1, -1, width)
        return embedded_CTW.scatter(1, index_CMW, context.expand(num_classes, -1, -1))

    @property
    def shares_context(self) -> bool:
        """Whether the context stands in what all prompts begin with."""
        return self.packing.shared > 1

    def beginning(self, context_NMW: Tensor) -> Tensor:
        """The embeddings [N, P, W] of what all prompts begin with, for each of N contexts."""
        ids_P = self.ids_CT[0, : self.packing.shared]
        fixed_NPW = embed_tokens(self.module, ids_P).expand(len(context_NMW), -1, -1)
        behind = 1 + context_NMW.shape[1]
        return torch.cat([fixed_NPW[:, :1], context_NMW, fixed_NPW[:, behind:]], dim=1)

    @cached_property
    def rest_SW(self) -> Tensor:
        """The packed embeddings of what follows the shared beginning, where no context stands in it."""
        return embed_tokens(self.module, self.ids_CT[self.packing.row_S, self.packing.position_S])

    def chosen(self, chosen_K: Tensor) -> "PromptTokens":
        """Those of some of the classes."""
        end_K = self.end_C[chosen_K]
        return PromptTokens(
            module=self.module,
            ids_CT=self.ids_CT[chosen_K],
            context_CM=self.context_CM[chosen_K],
            end_C=end_K,
            packing=pack_evenly(end_K, self.ids_CT.shape[1], self.packing.shared),
            text_tower=self.text_tower,
        )


def readable(class_name: str) -> str:
    """A class name as prompted: data sets write spaces as underscores."""
    return class_name.replace("_", " ").strip()


def context_embedding(backbone: Backbone, words: str) -> Tensor:
    """The token embeddings [M, W] float32 of some words: where a context starts.

    Raises:
        ValueError: no word at all, or a model with another kind of text tower.
    """
    check_text_tower(backbone.module)
    tokens = encode(backbone.tokenizer, words)
    if not tokens:
        raise ValueError(f"found the context {words!r}, expected at least one word to start from")
    return embed_tokens(backbone.module, torch.tensor([tokens], device=backbone.device))[0]


def prompt_tokens(
    backbone: Backbone,
    class_names: Sequence[str],
    num_context: int,
    *,
    position: ClassPosition = "end",
    between: str = "",
    own_contexts: bool = False,
) -> PromptTokens:
    """Tokenise class names with a context of `num_context` tokens.

    Args:
        backbone: whose tokens.
        class_names: C names.
        num_context: M.
        position: where the name stands: behind the context (`end`), between its halves (`middle`; the first half has
            the smaller part of an odd number), or before it (`front`).
        between: fixed words between context and name, for `end` alone.
        own_contexts: each class has a context of its own.

    Raises:
        ValueError: a model with another kind of text tower, or a prompt longer than the model's context.
    """
    check_text_tower(backbone.module)
    longest = int(backbone.module.positional_embedding.shape[0])
    start, end = backbone.tokenizer.sot_token_id, backbone.tokenizer.eot_token_id
    fixed = encode(backbone.tokenizer, between)
    before = {"end": num_context, "middle": num_context // 2, "front": 0}[position]
    rows, places = [], []
    for class_name in class_names:
        # The stop is encoded with what it stands behind, as it is in a sentence.
        name = encode(backbone.tokenizer, readable(class_name) + ("." if position == "end" else ""))
        stop = [] if position == "end" else encode(backbone.tokenizer, ".")
        row = [start, *[0] * before, *fixed, *name, *[0] * (num_context - before), *stop, end]
        if len(row) > longest:
            raise ValueError(
                f"the prompt of class {class_name!r} has {len(row)} tokens, expected at most {longest}, the context "
                f"length of {backbone.model}: shorten the name or the learned context"
            )
        behind = 1 + before + len(fixed) + len(name)
        rows.append(row)
        places.append([*range(1, 1 + before), *range(behind, behind + num_context - before)])
    width = max(map(len, rows))
    shared = 1 + num_context + len(fixed) if position == "end" and not own_contexts else 1
    return PromptTokens(
        module=backbone.module,
        ids_CT=torch.tensor([row + [0] * (width - len(row)) for row in rows], device=backbone.device),
        context_CM=torch.tensor(places, dtype=torch.int64, device=backbone.device).view(len(rows), num_context),
        end_C=torch.tensor([len(row) - 1 for row in rows], device=backbone.device),
        packing=pack([len(row) for row in rows], shared, backbone.device),
        text_tower=backbone.text_tower,
    )


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of some words, without start and end."""
    tokens: list[int] = tokenizer.encode(text)
    return tokens
