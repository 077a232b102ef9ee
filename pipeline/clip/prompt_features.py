"""Text features of prompts with a learned context, by the quickest way that gives the full tower's result.

Letters: N contexts, C classes, P shared positions, S packed positions, M context tokens, L layers, W width,
D embedding.
"""

import torch
from torch import Tensor

from fdbpl.pipeline.clip.packed_tower import is_plain, run_packed
from fdbpl.pipeline.clip.prompts import PromptTokens
from fdbpl.pipeline.clip.text_tower import encode_embeddings, finish


def encode_prompts(tokens: PromptTokens, context: Tensor, deep_LMW: Tensor | None = None) -> Tensor:
    """Unit text features [C, D] float32 of every prompt, differentiable in context and deep prompts.

    Args:
        context: [M, W] for all classes, or [C, M, W] for each where the prompts have contexts of their own.
        deep_LMW: see `encode_embeddings`.
    """
    if not is_plain(tokens.module.transformer):
        return encode_embeddings(tokens.module, tokens.around(context), tokens.end_C, deep_LMW)
    if tokens.shares_context:
        return _packed(tokens, tokens.beginning(context[None]), tokens.rest_SW, deep_LMW)[0]
    embedded_CTW = tokens.around(context)
    rest_SW = embedded_CTW[tokens.packing.row_S, tokens.packing.position_S]
    return _packed(tokens, embedded_CTW[:1, : tokens.packing.shared], rest_SW, deep_LMW)[0]


def encode_stacked(tokens: PromptTokens, context_NMW: Tensor) -> Tensor:
    """Unit text features [N, C, D] float32 of every prompt with each of N contexts, which stand before the names."""
    if is_plain(tokens.module.transformer):
        return _packed(tokens, tokens.beginning(context_NMW), tokens.rest_SW, None)
    embedded = torch.cat([tokens.around(context_MW) for context_MW in context_NMW])
    features = encode_embeddings(tokens.module, embedded, tokens.end_C.repeat(len(context_NMW)))
    return features.view(len(context_NMW), -1, features.shape[-1])


def _packed(tokens: PromptTokens, shared_NPW: Tensor, rest_SW: Tensor, deep_LMW: Tensor | None) -> Tensor:
    module, packing = tokens.module, tokens.packing
    positions = module.positional_embedding
    ends_NCW = run_packed(
        module.transformer,
        shared_NPW + positions[: packing.shared],
        (rest_SW + positions[packing.position_S])[None],
        packing,
        deep_LMW,
    )
    return finish(module, ends_NCW if packing.back_C is None else ends_NCW[:, packing.back_C])
