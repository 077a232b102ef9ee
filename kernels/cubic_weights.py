"""Weights of an antialiased bicubic resize in fixed point, as Pillow's resize of 8-bit images defines them.

A value of the result is a weighted sum of the values that its filter reaches, within the window alone: what the filter
lacks beyond the border is left out, and the rest is scaled up. Weights are integers of 22 bits after the point, so that
the sums are integers, and every device gives the same pixel. Letters: B windows, S values of the result, T taps.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Pillow keeps 8 bits of a value and 2 for sums that go beyond, of 32.
PRECISION_BITS = 22
# Keys' cubic with a = -1/2 reaches two values of the coarser grid to each side.
_A, _REACH = -0.5, 2.0


@dataclass(frozen=True, kw_only=True)
class CubicWeights:
    """For each value of the result: the first value that it is made of int32 [B, S], and weights int32 [B, T, S], zero
    for taps beyond its last one. `taps_B` says how many taps a window needs at most."""

    first_BS: Tensor
    weights_BTS: Tensor
    taps_B: Tensor


def most_taps(extent: int, resized: int) -> int:
    """T of a window of `extent` values that is resized to `resized`."""
    return 2 * math.ceil(_REACH * max(extent / resized, 1.0)) + 1


def cubic_weights(extent_B: Tensor, resized_B: Tensor, corner_B: Tensor, size: int, num_taps: int) -> CubicWeights:
    """Weights along one axis.

    Args:
        extent_B: int64, values of each window.
        resized_B: int64, values that it would be resized to.
        corner_B: int64, the first of `size` values that are wanted of these.
        size: S.
        num_taps: T, `most_taps` of the most demanding window.
    """
    device = extent_B.device
    scale_B = extent_B.double() / resized_B.double()
    stretch_B1 = scale_B.clamp(min=1.0)[:, None]
    places_BS = corner_B[:, None] + torch.arange(size, device=device)
    centers_BS = (places_BS.double() + 0.5) * scale_B[:, None]
    first_BS = (centers_BS - _REACH * stretch_B1 + 0.5).trunc().clamp(min=0)
    last_BS = torch.minimum((centers_BS + _REACH * stretch_B1 + 0.5).trunc(), extent_B.double()[:, None])
    taps_T = torch.arange(num_taps, device=device, dtype=torch.float64)
    values_BTS = first_BS[:, None] + taps_T[:, None]
    raw_BTS = _cubic((values_BTS - centers_BS[:, None] + 0.5) * (1.0 / stretch_B1[:, None]))
    raw_BTS = torch.where(values_BTS < last_BS[:, None], raw_BTS, 0.0)
    fixed_BTS = raw_BTS / raw_BTS.sum(dim=1, keepdim=True) * 2**PRECISION_BITS
    # Halves away from zero.
    fixed_BTS = (fixed_BTS + torch.where(fixed_BTS < 0, -0.5, 0.5)).trunc()
    return CubicWeights(
        first_BS=first_BS.to(torch.int32),
        weights_BTS=fixed_BTS.to(torch.int32),
        taps_B=(last_BS - first_BS).amax(dim=1).to(torch.int32),
    )


def _cubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = ((_A + 2.0) * x - (_A + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * _A
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))
