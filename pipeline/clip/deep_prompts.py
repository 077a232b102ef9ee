"""Deep prompts of either tower: the layers of a transformer, with learned hidden states put in between them.

Prompts of depth d enter at the inputs of layers 0 to d - 1. Those of layer 0 are part of the tower's input. At each
later one, what the layer before made of them is thrown away and that layer's own take their places, the same for every
sequence. With none, the result is open_clip's own.
Letters: N sequences, T positions, M prompt tokens, L layers, W width.
"""

from typing import Any

import torch
from torch import Tensor


def check_depth(transformer: Any, depth: int, *, option: str, tower: str) -> None:
    """Refuse prompts for more layers than a tower has, and for none.

    Raises:
        ValueError: naming the option that sets the depth, and the number of layers.
    """
    layers = len(transformer.resblocks)
    if not 1 <= depth <= layers:
        raise ValueError(
            f"found {option} = {depth}, expected 1 to {layers}, the number of layers of {tower}: prompts enter at the "
            f"inputs of layers. Set {option} within that"
        )


def run_layers(
    transformer: Any, hidden_NTW: Tensor, deep_LMW: Tensor | None, first: int, mask_TT: Tensor | None = None
) -> Tensor:
    """The hidden states [N, T, W] behind the last layer, differentiable in both inputs.

    Args:
        transformer: an open_clip Transformer of either layout (batch first, or positions first).
        deep_LMW: what stands at positions `first` to `first + M - 1` at the inputs of layers 1 to L; None: what the
            layers before made.
        mask_TT: added to the attention's scores.
    """
    deep = () if deep_LMW is None else deep_LMW.unbind()
    assert len(deep) < len(transformer.resblocks), "checked by check_depth where the depth was chosen"
    for layer, block in enumerate(transformer.resblocks):
        if 1 <= layer <= len(deep):
            hidden_NTW = _replaced(hidden_NTW, deep[layer - 1], first)
        if transformer.batch_first:
            hidden_NTW = block(hidden_NTW, attn_mask=mask_TT)
        else:
            hidden_NTW = block(hidden_NTW.transpose(0, 1), attn_mask=mask_TT).transpose(0, 1)
    return hidden_NTW


def _replaced(hidden_NTW: Tensor, tokens_MW: Tensor, first: int) -> Tensor:
    tokens_NMW = tokens_MW.to(hidden_NTW.dtype).expand(len(hidden_NTW), -1, -1)
    return torch.cat([hidden_NTW[:, :first], tokens_NMW, hidden_NTW[:, first + tokens_MW.shape[0] :]], dim=1)
