"""Prompts of many classes laid out without waste: what all of them begin with once, then the rest of each one after
another, in groups of equal length.

Under the causal mask no position depends on a later one, so the hidden states of the shared beginning are the same for
every class, and what fills up a shorter rest changes nothing before it.
Letters: C classes, G classes of a group, B blocks of b classes, R positions of a block, P shared positions, S packed
positions.
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
class Group:
    """Some classes whose rests have `length` positions, the shorter ones filled up. Attention takes some of them at a
    time, a block: each by itself would be many tiny products.

    Attributes:
        count, length: classes of the group, and positions of each.
        bias_1RR: 0 where a position of a block sees another one, else -inf; float32 [1, b length, b length].
        ends_BbR: the same of the classes' end tokens [B, b, b length]; B is 1 where all rests end at their last
            position.
    """

    count: int
    length: int
    bias_1RR: Tensor
    ends_BbR: Tensor

    @property
    def positions(self) -> int:
        return self.count * self.length


@dataclass(frozen=True, kw_only=True, eq=False)
class Packing:
    """Where each packed position comes from, and each class's end token goes to.

    Attributes:
        shared: P.
        bias_1PP: which shared positions each of them sees, 0 or -inf; float32.
        groups: the classes, in the order in which they are packed.
        row_S, position_S: class and position of each packed position, int64.
        end_C: packed position of each end token, in packed order, int64.
        back_C: where each class is in packed order, int64; None where the order is the classes' own.
    """

    shared: int
    bias_1PP: Tensor
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
        groups.append(_group(last, longest, is_even=all(lengths[row] - shared == longest for row in own)))
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
        bias_1PP=_beginning(shared, device),
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
        bias_1PP=_beginning(shared, end_C.device),
        groups=(_group(end_C - shared, length, is_even=False),),
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


def _group(end_G: Tensor, length: int, *, is_even: bool) -> Group:
    count, device = len(end_G), end_G.device
    block = max(size for size in range(1, 1 + max(1, _BLOCK // length)) if count % size == 0)
    at_R = torch.arange(block * length, device=device)
    is_own_RR = (at_R // length)[:, None] == at_R // length
    # Where all rests end alike, only the device need not be asked.
    end_Bb = torch.full((1, block), length - 1, device=device) if is_even else end_G.view(-1, block)
    end_Bb = end_Bb + length * torch.arange(block, device=device)
    return Group(
        count=count,
        length=length,
        bias_1RR=_bias(is_own_RR & (at_R <= at_R[:, None]))[None],
        ends_BbR=_bias((at_R <= end_Bb[..., None]) & is_own_RR[end_Bb]),
    )


def _beginning(shared: int, device: torch.device) -> Tensor:
    at_P = torch.arange(shared, device=device)
    return _bias(at_P <= at_P[:, None])[None]


def _bias(is_seen: Tensor) -> Tensor:
    """0 where it is seen, -inf elsewhere, float32."""
    return torch.zeros(is_seen.shape, device=is_seen.device).masked_fill_(~is_seen, -torch.inf)
