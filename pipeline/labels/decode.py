"""Stored labels as logits on the device where a student trains: what is moved there is as small as what is stored.

The same as `cache_layout.encodings` computes in numpy, for rows with any leading axes.
Letters: B views, C classes asked for, K kept classes, D embedding.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fdbpl.cache_layout.encodings import LOWEST, SINGLE_ROUNDOFF
from fdbpl.cache_layout.label_sources import Columns, Decode, FromEmbedding, FromLogits, FromTopK

DeviceDecode = Callable[[Sequence[Tensor]], Tensor]
"""From the rows of each array, [..., *row], to float32 logits [..., C]."""


def decode_on(decode: Decode, device: torch.device) -> DeviceDecode:
    """What `decode` does to arrays, done to tensors on a device."""
    if isinstance(decode, FromEmbedding):
        scaled_text_DC = torch.from_numpy(decode.scaled_text_CD).to(device).T
        return lambda rows: rows[0].to(torch.float32) @ scaled_text_DC
    if isinstance(decode, FromLogits):
        take = _taking(decode.columns, device)
        return lambda rows: take(rows[0]).to(torch.float32)
    if isinstance(decode, FromTopK):
        take, num_classes = _taking(decode.columns, device), decode.num_classes
        return lambda rows: take(_spread(*rows, num_classes=num_classes))
    raise TypeError(
        f"found labels decoded by a {type(decode).__name__}, expected a source of cache_layout.label_sources"
    )


def _taking(columns: Columns, device: torch.device) -> Callable[[Tensor], Tensor]:
    if isinstance(columns, slice):
        return lambda logits: logits[..., columns]
    columns_C = torch.from_numpy(columns).to(device)
    return lambda logits: logits.index_select(-1, columns_C)


def _spread(value_BK: Tensor, index_BK: Tensor, logsumexp_B: Tensor, *, num_classes: int) -> Tensor:
    """Logits of all classes, those that are not kept with an even part of the others' mass; see `decode_topk`."""
    value_BK = value_BK.to(torch.float32)
    num_others = num_classes - value_BK.shape[-1]
    others_B = torch.zeros_like(logsumexp_B)
    if num_others:
        wide_B = logsumexp_B.to(torch.float64)
        kept_B = value_BK[..., 1:].to(torch.float64).exp().sum(dim=-1)
        resolved_B = SINGLE_ROUNDOFF * wide_B * wide_B.exp()
        logarithm_B = (torch.maximum(wide_B.expm1() - kept_B, resolved_B) / num_others).log()
        others_B = logarithm_B.clamp(min=LOWEST).to(torch.float32)
    logits_BC = others_B.unsqueeze(-1).repeat(*[1] * others_B.ndim, num_classes)
    return logits_BC.scatter_(-1, index_BK.to(torch.int64), value_BK)
