"""Text features of prompts with a learned context, by the quickest way that gives the full tower's result.

Letters: N contexts, C classes, P shared positions, S packed positions, M context tokens, L layers, W width,
D embedding.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from fdbpl.pipeline.clip.packed_tower import is_plain, run_packed
from fdbpl.pipeline.clip.packing import Packing
from fdbpl.pipeline.clip.prompts import PromptTokens
from fdbpl.pipeline.clip.text_tower import encode_embeddings, finish

# Values of a layer's hidden states that a CPU computes at a time, about: 4 MB in float32, and four times that within.
_CACHED = 2**20


def encode_prompts(tokens: PromptTokens, context: Tensor, deep_LMW: Tensor | None = None) -> Tensor:
    """Unit text features [C, D] float32 of every prompt, differentiable in context and deep prompts.

    Args:
        context: [M, W] for all classes, or [C, M, W] for each where the prompts have contexts of their own.
        deep_LMW: see `encode_embeddings`.
    """
    if not _can_be_packed(tokens):
        return encode_embeddings(tokens.module, _padded(tokens, context), tokens.end_C, deep_LMW)
    if tokens.shares_context:
        return _packed(tokens, tokens.beginning(context[None]), tokens.rest_SW, deep_LMW)[0]
    embedded_CTW = tokens.around(context)
    rest_SW = embedded_CTW[tokens.packing.row_S, tokens.packing.position_S]
    return _packed(tokens, embedded_CTW[:1, : tokens.packing.shared], rest_SW, deep_LMW)[0]


def encode_stacked(tokens: PromptTokens, context_NMW: Tensor) -> Tensor:
    """Unit text features [N, C, D] float32 of every prompt with each of N contexts, which stand before the names."""
    if _can_be_packed(tokens):
        return _packed(tokens, tokens.beginning(context_NMW), tokens.rest_SW, None)
    embedded = torch.cat([_padded(tokens, context_MW) for context_MW in context_NMW])
    features = encode_embeddings(tokens.module, embedded, tokens.end_C.repeat(len(context_NMW)))
    return features.view(len(context_NMW), -1, features.shape[-1])


@lru_cache(maxsize=1)
def compiled_tower(device_type: str) -> Callable[..., Tensor]:
    """The packed tower by torch.compile, for one shape at a time; on a GPU as CUDA graphs, for a step of few classes
    is so many small kernels that starting them takes longer than what they do."""
    return torch.compile(run_packed, dynamic=False, mode="reduce-overhead" if device_type == "cuda" else None)


def _parts(number: int, packing: Packing, hidden: Tensor) -> int:
    """In how many parts so many contexts go through the tower: on a CPU its layers are quickest while they fit into the
    caches; a GPU takes all at once."""
    if hidden.device.type != "cpu":
        return 1
    return -(-number * (packing.shared + len(packing.row_S)) * hidden.shape[-1] // _CACHED)


def _can_be_packed(tokens: PromptTokens) -> bool:
    return tokens.text_tower != "plain" and is_plain(tokens.module.transformer)


def _padded(tokens: PromptTokens, context: Tensor) -> Tensor:
    """Embeddings of whole prompts, up to the longest one's end; in the plain tower at all positions that there are."""
    embedded_CTW = tokens.around(context)
    if tokens.text_tower != "plain":
        return embedded_CTW
    longest = tokens.module.positional_embedding.shape[0]
    return pad(embedded_CTW, (0, 0, 0, longest - embedded_CTW.shape[1]))


def _packed(tokens: PromptTokens, shared_NPW: Tensor, rest_SW: Tensor, deep_LMW: Tensor | None) -> Tensor:
    module, packing = tokens.module, tokens.packing
    positions = module.positional_embedding
    parts = shared_NPW.chunk(_parts(len(shared_NPW), packing, shared_NPW))
    if len(parts) > 1:
        return torch.cat([_packed(tokens, part, rest_SW, deep_LMW) for part in parts])
    run = compiled_tower(shared_NPW.device.type) if tokens.text_tower == "compiled" else run_packed
    ends_NCW = run(
        module.transformer,
        shared_NPW + positions[: packing.shared],
        (rest_SW + positions[packing.position_S])[None],
        packing,
        deep_LMW,
    )
    return finish(module, ends_NCW if packing.back_C is None else ends_NCW[:, packing.back_C])
