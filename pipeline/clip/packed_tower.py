"""CLIP's text tower over packed prompts: exactly the full tower's features, at the cost of the positions that differ.

Keys and values of what all prompts begin with are computed once a layer and read by every class; in the last layer only
end tokens are computed. Linear layers see all positions at once, attention those of one group of equal lengths.
Letters: N stacked contexts, C classes, G classes of a group, b classes of a block, B blocks, P shared positions,
R positions of a rest, S packed positions, H heads, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from fdbpl.pipeline.clip.packing import Group, Packing


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
    shared = packing.shared
    hidden_NTW = torch.cat([shared_NPW, rest_NSW.expand(len(shared_NPW), -1, -1)], dim=1)
    last = len(transformer.resblocks) - 1
    for layer, block in enumerate(transformer.resblocks):
        if 1 <= layer <= len(deep):
            tokens_NMW = deep[layer - 1].to(hidden_NTW.dtype).expand(len(hidden_NTW), -1, -1)
            behind = first + tokens_NMW.shape[1]
            hidden_NTW = torch.cat([hidden_NTW[:, :first], tokens_NMW, hidden_NTW[:, behind:]], dim=1)
        attended = _attention(block.attn, block.ln_1(hidden_NTW), packing, ends_only=layer == last)
        if layer == last:
            hidden_NTW = hidden_NTW[:, shared + packing.end_C]
        hidden_NTW = hidden_NTW + block.ls_1(attended)
        hidden_NTW = hidden_NTW + block.ls_2(block.mlp(block.ln_2(hidden_NTW)))
    return hidden_NTW


def _attention(attention: nn.MultiheadAttention, normed_NTW: Tensor, packing: Packing, *, ends_only: bool) -> Tensor:
    """What every position attends to [N, P + S, W], or every end token alone [N, C, W]."""
    heads, shared = attention.num_heads, packing.shared
    sizes = [shared, *(group.count * group.length for group in packing.groups)]
    parts = linear(normed_NTW, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    queries, keys, values = (part_NTW.split(sizes, dim=1) for part_NTW in parts)
    shared_kv = _split(keys[0], heads), _split(values[0], heads)
    attended = []
    if not ends_only:
        attended.append(_merged(scaled_dot_product_attention(_split(queries[0], heads), *shared_kv, is_causal=True)))
    for group, query_NSW, key_NSW, value_NSW in zip(packing.groups, queries[1:], keys[1:], values[1:], strict=True):
        attended.append(_group_attention(group, query_NSW, key_NSW, value_NSW, *shared_kv, ends_only=ends_only))
    return linear(torch.cat(attended, dim=1), attention.out_proj.weight, attention.out_proj.bias)


def _group_attention(
    group: Group,
    query_NSW: Tensor,
    key_NSW: Tensor,
    value_NSW: Tensor,
    key_NHPd: Tensor,
    value_NHPd: Tensor,
    *,
    ends_only: bool,
) -> Tensor:
    """What a group's positions attend to, in the shared beginning and in their own rest."""
    stacked, heads = key_NHPd.shape[:2]

    num_blocks = group.count // group.block

    def rests(part_NSW: Tensor) -> Tensor:
        return _split(part_NSW.reshape(stacked * num_blocks, group.block * group.length, -1), heads)

    def with_shared(own_BHRd: Tensor, shared_NHPd: Tensor) -> Tensor:
        return torch.cat([shared_NHPd.repeat_interleave(num_blocks, dim=0), own_BHRd], dim=2)

    query_BHRd, mask = rests(query_NSW), group.mask_RT
    if ends_only and group.ends is None:
        query_BHRd, mask = (value[..., group.length - 1 :: group.length, :] for value in (query_BHRd, mask))
    elif ends_only and group.ends is not None:
        end_Bb = group.ends.position_Gb.repeat(stacked, 1)
        blocks_B1 = torch.arange(len(end_Bb), device=end_Bb.device).unsqueeze(1)
        query_BHRd = query_BHRd[blocks_B1, :, end_Bb].transpose(1, 2)
        mask = group.ends.mask_G1bT.repeat(stacked, 1, 1, 1)
    attended_BHRd = scaled_dot_product_attention(
        query_BHRd,
        with_shared(rests(key_NSW), key_NHPd),
        with_shared(rests(value_NSW), value_NHPd),
        attn_mask=mask,
    )
    return _merged(attended_BHRd).reshape(stacked, -1, query_NSW.shape[-1])


def _split(part_NTW: Tensor, heads: int) -> Tensor:
    """[N, T, W] to [N, H, T, W / H]."""
    return part_NTW.view(*part_NTW.shape[:-1], heads, -1).transpose(1, 2)


def _merged(part_NHTd: Tensor) -> Tensor:
    return part_NHTd.transpose(1, 2).flatten(2)
