"""Prompts of many classes laid out without waste: what all of them begin with once, then the rest of each one after
another, in groups of equal length.

Under the causal mask no position depends on a later one, so the hidden states of the shared beginning are the same for
every class, and what fills up a shorter rest changes nothing before it.
Letters: C classes, G classes of a group, T positions, P shared positions, R positions of a rest, S packed positions.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Part of the packed positions that may fill up shorter rests: each group of its own costs kernels of its own.
_FILLED = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """Position of each end token in its rest, int64 [G], and what it sees, bool [G, 1, 1, P + R]."""

    position_G: Tensor
    mask_G11T: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Some classes whose rests have `length` positions, the shorter ones filled up.

    Attributes:
        count, length: G and R.
        mask_RT: which of the P + R positions each position of a rest sees, bool [R, P + R].
        ends: where rests end; None where all end at the last position, and see everything.
    """

    count: int
    length: int
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
    seen_T = torch.arange(shared + length, device=end_G.device)
    return Group(
        count=len(end_G),
        length=length,
        mask_RT=seen_T <= shared + seen_T[:length, None],
        ends=None if is_even else Ends(position_G=end_G, mask_G11T=(seen_T <= shared + end_G[:, None])[:, None, None]),
    )
