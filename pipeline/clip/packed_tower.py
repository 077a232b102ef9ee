"""CLIP's text tower over packed prompts: exactly the full tower's features, at the cost of the positions that differ.

Keys and values of what all prompts begin with are computed once a layer and read by every class; in the last layer only
end tokens ask. Linear layers see all positions at once, attention those of one group of equal lengths.
Letters: N stacked contexts, C classes, P shared positions, S packed positions, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from fdbpl.pipeline.clip.packing import Packing
from fdbpl.pipeline.clip.prefix_attention import prefix_attention


def is_plain(transformer: Any) -> bool:
    """Whether all layers are open_clip's ordinary ones, whose attention can be taken apart."""
    from open_clip.transformer import ResidualAttentionBlock  # who plans students asks for no model

    return all(
        type(block) is ResidualAttentionBlock
        and type(block.attn) is nn.MultiheadAttention
        and block.attn.bias_k is None
        for block in transformer.resblocks
    )


def run_packed(
    transformer: Any,
    shared_NPW: Tensor,
    rest_NSW: Tensor,
    packing: Packing,
    deep_LMW: Tensor | None = None,
    *,
    first: int = 1,
) -> Tensor:
    """The hidden states [N, C, W] of the end tokens behind the last layer, in packed order; differentiable.

    Args:
        transformer: an open_clip Transformer for which `is_plain`.
        shared_NPW: the shared beginning, with positions.
        rest_NSW: the packed rests, with positions.
        deep_LMW: what stands at positions `first` to `first + M - 1`, all shared, at the inputs of layers 1 to L.
    """
    deep = () if deep_LMW is None else deep_LMW.unbind()
    hidden_NTW = torch.cat([shared_NPW, rest_NSW.expand(len(shared_NPW), -1, -1)], dim=1)
    last = len(transformer.resblocks) - 1
    for layer, block in enumerate(transformer.resblocks):
        if 1 <= layer <= len(deep):
            tokens_NMW = deep[layer - 1].to(hidden_NTW.dtype).expand(len(hidden_NTW), -1, -1)
            behind = first + tokens_NMW.shape[1]
            hidden_NTW = torch.cat([hidden_NTW[:, :first], tokens_NMW, hidden_NTW[:, behind:]], dim=1)
        normed_NTW = block.ln_1(hidden_NTW)
        if layer < last:
            attended = _all_attend(block.attn, normed_NTW, packing)
        else:
            ends_C = packing.shared + packing.end_C
            attended = _ends_attend(block.attn, normed_NTW, normed_NTW[:, ends_C], packing)
            hidden_NTW = hidden_NTW[:, ends_C]
        hidden_NTW = hidden_NTW + block.ls_1(linear(attended, block.attn.out_proj.weight, block.attn.out_proj.bias))
        hidden_NTW = hidden_NTW + block.ls_2(block.mlp(block.ln_2(hidden_NTW)))
    return hidden_NTW


def _all_attend(attention: nn.MultiheadAttention, normed_NTW: Tensor, packing: Packing) -> Tensor:
    """What every position attends to [N, P + S, W]."""
    width, heads = attention.embed_dim, attention.num_heads
    packed = linear(normed_NTW, attention.in_proj_weight, attention.in_proj_bias)
    beginning, *rests = packed.split([packing.shared, *(group.positions for group in packing.groups)], dim=1)
    attended = [prefix_attention(beginning, packing.bias_1PP, heads)]
    shared = beginning[..., width:]
    for group, rest in zip(packing.groups, rests, strict=True):
        attended.append(prefix_attention(rest, group.bias_1RR, heads, beginning=shared))
    return torch.cat(attended, dim=1)


def _ends_attend(attention: nn.MultiheadAttention, normed_NTW: Tensor, ends_NCW: Tensor, packing: Packing) -> Tensor:
    """What every end token attends to [N, C, W]."""
    width, heads = attention.embed_dim, attention.num_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    query_NCW = linear(ends_NCW, weight[:width], bias[:width])
    packed = linear(normed_NTW, weight[width:], bias[width:])
    shared, *rests = packed.split([packing.shared, *(group.positions for group in packing.groups)], dim=1)
    queries = query_NCW.split([group.count for group in packing.groups], dim=1)
    attended = [
        prefix_attention(rest, group.ends_BbR, heads, beginning=shared, queries=query)
        for group, rest, query in zip(packing.groups, rests, queries, strict=True)
    ]
    return torch.cat(attended, dim=1)
