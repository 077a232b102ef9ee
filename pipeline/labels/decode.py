"""Stored labels as a teacher's logits on the device where a student trains: what is moved there is as small as what is
stored, and topk labels stay as they are until somebody asks for all classes.

The same as `cache_layout.encodings` computes in numpy, for rows with any leading axes.
Letters: B views, C classes asked for, K kept classes, D embedding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.label_sources import Columns, Decode, FromEmbedding, FromLogits, FromTopK
from fdbpl.kernels.topk_distillation import others_logit
from fdbpl.pipeline.values import KeptLogits

DeviceDecode = Callable[[Sequence[Tensor]], Tensor | KeptLogits]
"""From the rows of each array, [..., *row], to float32 logits [..., C], or to those of the kept classes."""


def decode_on(decode: Decode, device: torch.device) -> DeviceDecode:
    """What `decode` does to arrays, done to tensors on a device."""
    if isinstance(decode, FromEmbedding):
        scaled_text_DC = torch.from_numpy(decode.scaled_text_CD).to(device).T
        return lambda rows: rows[0].to(torch.float32) @ scaled_text_DC
    if isinstance(decode, FromLogits):
        take = _taking(decode.columns, device)
        return lambda rows: take(rows[0]).to(torch.float32)
    if isinstance(decode, FromTopK):
        place_C = _places(decode.columns, decode.num_classes, device)
        return lambda rows: _kept(*rows, place_C=place_C)
    raise TypeError(f"found labels decoded by a {type(decode).__name__}, expected one of cache_layout.label_sources")


def _taking(columns: Columns, device: torch.device) -> Callable[[Tensor], Tensor]:
    if isinstance(columns, slice):
        return lambda logits: logits[..., columns]
    columns_C = torch.from_numpy(columns).to(device)
    return lambda logits: logits.index_select(-1, columns_C)


def _places(columns: Columns, num_classes: int, device: torch.device) -> Tensor:
    """Where each class of the store's list stands among those asked for, which are the same ones: int64 [C]."""
    wanted = np.arange(num_classes)[columns]
    places_C = np.empty(num_classes, dtype=np.int64)
    places_C[wanted] = np.arange(num_classes)
    return torch.from_numpy(places_C).to(device)


def _kept(value_BK: Tensor, index_BK: Tensor, logsumexp_B: Tensor, *, place_C: Tensor) -> KeptLogits:
    return KeptLogits(
        value_BK=value_BK.to(torch.float32),
        index_BK=place_C[index_BK.to(torch.int64)],
        other_B=others_logit(value_BK, logsumexp_B, len(place_C)),
        num_classes=len(place_C),
    )
