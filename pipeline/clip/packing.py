"""Prompts of many classes laid out without waste: what all of them begin with once, then the rest of each one after
another, in groups of equal length.

Under the causal mask no position depends on a later one, so the hidden states of the shared beginning are the same for
every class, and what fills up a shorter rest changes nothing before it.
Letters: C classes, G classes of a group, b classes of a block, T positions, P shared positions, R positions of a rest,
S packed positions.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Part of the packed positions that may fill up shorter rests: each group of its own costs kernels of its own.
_FILLED = 0.1
# Positions that attention takes at a time, about. More would compute more that nobody sees.
_BLOCK = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """Position of each end token in its block, int64 [G / b, b], and what it sees, bool [G / b, 1, b, P + b R]."""

    position_Gb: Tensor
    mask_G1bT: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Some classes whose rests have `length` positions, the shorter ones filled up. Attention takes `block` of them at
    a time, each seeing the shared beginning and itself: so few positions alone would be many tiny products.

    Attributes:
        count, length, block: G, R and b, which divides G.
        mask_RT: which of the P + b R positions each position of a block sees, bool [b R, P + b R].
        ends: where rests end; None where all end at their last position.
    """

    count: int
    length: int
    block: int
    mask_RT: Tensor
    ends: Ends | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Packing:
    """Where each packed position comes from, and each class's end token goes to.

    Attributes:
        shared: P.
        groups: the classes, in the order in which they are packed.
        row_S, position_S: class and position of each packed position, int64.
        end_C: packed position of each end token, in packed order, int64.
        back_C: where each class is in packed order, int64; None where the order is the classes' own.
    """

    shared: int
    groups: tuple[Group, ...]
    row_S: Tensor
    position_S: Tensor
    end_C: Tensor
    back_C: Tensor | None


def pack(lengths: Sequence[int], shared: int, device: torch.device) -> Packing:
    """A packing of classes whose prompts have so many positions, of which they share the first."""
    sizes = group_lengths([length - shared for length in lengths])
    order: list[int] = []
    groups: list[Group] = []
    rows, positions, ends = list[int](), list[int](), list[int]()
    at = 0
    for shorter, longest in zip([0, *sizes], sizes, strict=False):
        own = [row for row, length in enumerate(lengths) if shorter < length - shared <= longest]
        last = torch.tensor([lengths[row] - shared - 1 for row in own], device=device)
        groups.append(_group(last, longest, shared, is_even=all(lengths[row] - shared == longest for row in own)))
        order += own
        for row in own:
            rows += [row] * longest
            positions += range(shared, shared + longest)
            ends.append(at + lengths[row] - shared - 1)
            at += longest
    back = torch.empty(len(order), dtype=torch.int64)
    back[torch.tensor(order, dtype=torch.int64)] = torch.arange(len(order))
    return Packing(
        shared=shared,
        groups=tuple(groups),
        row_S=torch.tensor(rows, dtype=torch.int64, device=device),
        position_S=torch.tensor(positions, dtype=torch.int64, device=device),
        end_C=torch.tensor(ends, dtype=torch.int64, device=device),
        back_C=None if order == sorted(order) else back.to(device),
    )


def pack_evenly(end_C: Tensor, width: int, shared: int) -> Packing:
    """A packing in one group, for classes whose lengths only the device knows: nothing waits for it.

    Args:
        end_C: position of each prompt's end token, int64.
        width: positions of the longest prompt, T.
    """
    num_classes, length = len(end_C), width - shared
    rows_C = torch.arange(num_classes, device=end_C.device)
    return Packing(
        shared=shared,
        groups=(_group(end_C - shared, length, shared, is_even=False),),
        row_S=rows_C.repeat_interleave(length),
        position_S=torch.arange(shared, width, device=end_C.device).repeat(num_classes),
        end_C=rows_C * length + end_C - shared,
        back_C=None,
    )


def group_lengths(lengths: Sequence[int]) -> list[int]:
    """The lengths of the groups, ascending: as few as may be, so that filling up takes a tenth of the positions."""
    counts = sorted(Counter(lengths).items(), reverse=True)
    budget = _FILLED * sum(lengths)
    sizes: list[int] = []
    for length, count in counts:
        filled = (sizes[-1] - length) * count if sizes else 0
        if sizes and filled <= budget:
            budget -= filled
        else:
            sizes.append(length)
    return sizes[::-1]


def _group(end_G: Tensor, length: int, shared: int, *, is_even: bool) -> Group:
    count = len(end_G)
    block = max(size for size in range(1, 1 + max(1, _BLOCK // length)) if count % size == 0)
    seen_R = torch.arange(block * length, device=end_G.device)
    is_own_RR = (seen_R // length)[:, None] == seen_R // length
    ends = None
    if not is_even:
        position_Gb = end_G.view(-1, block) + length * torch.arange(block, device=end_G.device)
        seen_GbR = (seen_R <= position_Gb[..., None]) & is_own_RR[position_Gb]
        ends = Ends(position_Gb=position_Gb, mask_G1bT=_with_shared(seen_GbR, shared)[:, None])
    return Group(
        count=count,
        length=length,
        block=block,
        mask_RT=_with_shared(is_own_RR & (seen_R <= seen_R[:, None]), shared),
        ends=ends,
    )


def _with_shared(seen: Tensor, shared: int) -> Tensor:
    """The same, and all shared positions before."""
    return torch.cat([seen.new_ones(*seen.shape[:-1], shared), seen], dim=-1)
