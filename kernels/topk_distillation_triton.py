"""The two kernels of `topk_kl_divergence`: a program for each crop. Kept classes are looked at first, with the
teacher's normaliser; then all others, block by block. Of a crop STATS numbers are kept: the logarithms of both sums of
exponentials, and the reverse divergence.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_STATS = 3
_LOWEST = -3e38
_DIRECTIONS = {"symmetric": 0, "forward": 1, "reverse": 2}
_LARGEST_BLOCK = 1024


def forward(
    student_BC: Tensor, value_BK: Tensor, index_BK: Tensor, other_B: Tensor, direction: str, temperature: float
) -> tuple[Tensor, Tensor]:
    """Values [B], and what backward wants to be given of them [B, STATS]."""
    num_rows, num_classes = student_BC.shape
    values_B = torch.empty(num_rows, dtype=torch.float32, device=student_BC.device)
    stats = torch.empty((num_rows, _STATS), dtype=torch.float32, device=student_BC.device)
    _forward[(num_rows,)](
        student_BC.contiguous(),
        value_BK.contiguous(),
        index_BK.contiguous(),
        other_B.contiguous(),
        values_B,
        stats,
        num_classes,
        value_BK.shape[1],
        1.0 / temperature,
        LOWEST=_LOWEST,
        **_shape(num_classes, value_BK.shape[1], direction),
    )
    return values_B, stats


def backward(
    upstream_B: Tensor,
    student_BC: Tensor,
    value_BK: Tensor,
    index_BK: Tensor,
    other_B: Tensor,
    stats: Tensor,
    direction: str,
    temperature: float,
) -> Tensor:
    """The gradient of student_BC."""
    num_rows, num_classes = student_BC.shape
    student = student_BC.contiguous()
    grad = torch.empty_like(student)
    _backward[(num_rows,)](
        student,
        value_BK.contiguous(),
        index_BK.contiguous(),
        other_B.contiguous(),
        stats,
        upstream_B.contiguous(),
        grad,
        num_classes,
        value_BK.shape[1],
        1.0 / temperature,
        **_shape(num_classes, value_BK.shape[1], direction),
    )
    return grad


def _shape(num_classes: int, num_kept: int, direction: str) -> dict[str, Any]:
    block = min(triton.next_power_of_2(num_classes), _LARGEST_BLOCK)
    return {
        "DIRECTION": _DIRECTIONS[direction],
        "KEPT": triton.next_power_of_2(num_kept),
        "BLOCK": block,
        "STATS": _STATS,
        "num_warps": 1 if block < 256 else 4,
    }


@triton.jit
def _forward(
    student,
    value,
    index,
    other,
    values,
    stats,
    num_classes,
    num_kept,
    inverse_temperature,
    DIRECTION: tl.constexpr,
    KEPT: tl.constexpr,
    BLOCK: tl.constexpr,
    STATS: tl.constexpr,
    LOWEST: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    student += row * num_classes
    index += row * num_kept
    place = tl.arange(0, KEPT)
    is_kept = place < num_kept
    kept_t = tl.load(value + row * num_kept + place, mask=is_kept, other=LOWEST) * inverse_temperature
    kept_t = tl.where(is_kept, kept_t, LOWEST)
    other_t = tl.load(other + row) * inverse_temperature
    number = tl.load(index + place, mask=is_kept, other=0)
    kept_s = tl.load(student + number, mask=is_kept, other=0).to(tl.float32) * inverse_temperature
    # The teacher's normaliser; without others theirs counts for nothing.
    num_others = num_classes - num_kept
    t_top = tl.max(kept_t)
    if num_others > 0:
        t_top = tl.maximum(t_top, other_t)
    t_total = tl.sum(tl.where(is_kept, tl.exp(kept_t - t_top), 0.0))
    t_total += num_others * tl.exp(tl.minimum(other_t - t_top, 0.0))
    t_log = t_top + tl.log(t_total)
    log_t = tl.where(is_kept, kept_t - t_log, 0.0)
    log_other = other_t - t_log
    # The student's sums begin with the kept classes.
    first_top = tl.max(tl.where(is_kept, kept_s, LOWEST))
    s_top = first_top
    kept_exp = tl.where(is_kept, tl.exp(kept_s - s_top), 0.0)
    s_total = tl.sum(kept_exp)
    s_gap = tl.sum(kept_exp * (kept_s - s_top - log_t))
    others_sum = 0.0
    for start in range(0, num_classes, BLOCK):
        column = start + tl.arange(0, BLOCK)
        is_other = _is_other(column, index, num_kept) & (column < num_classes)
        s = tl.load(student + column, mask=is_other, other=0).to(tl.float32) * inverse_temperature
        next_top = tl.maximum(s_top, tl.max(tl.where(is_other, s, LOWEST)))
        fade = tl.exp(s_top - next_top)
        s_exp = tl.where(is_other, tl.exp(s - next_top), 0.0)
        s_gap = fade * (s_gap + s_total * (s_top - next_top)) + tl.sum(s_exp * (s - next_top - log_other))
        s_total = fade * s_total + tl.sum(s_exp)
        s_top = next_top
        others_sum += tl.sum(tl.where(is_other, s - first_top, 0.0))
    s_log = s_top + tl.log(s_total)
    reverse = s_gap / s_total - tl.log(s_total)
    of_kept = tl.sum(tl.where(is_kept, tl.exp(log_t) * (log_t - kept_s + s_log), 0.0))
    forward = of_kept + tl.exp(log_other) * (num_others * (log_other + s_log - first_top) - others_sum)
    if num_others == 0:
        forward = of_kept
    stats += row * STATS
    tl.store(stats, s_log)
    tl.store(stats + 1, t_log)
    tl.store(stats + 2, reverse)
    if DIRECTION == 0:
        tl.store(values + row, 0.5 * (reverse + forward))
    elif DIRECTION == 1:
        tl.store(values + row, forward)
    else:
        tl.store(values + row, reverse)


@triton.jit
def _backward(
    student,
    value,
    index,
    other,
    stats,
    upstream,
    grad,
    num_classes,
    num_kept,
    inverse_temperature,
    DIRECTION: tl.constexpr,
    KEPT: tl.constexpr,
    BLOCK: tl.constexpr,
    STATS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    student += row * num_classes
    grad += row * num_classes
    index += row * num_kept
    stats += row * STATS
    s_log = tl.load(stats)
    t_log = tl.load(stats + 1)
    reverse = tl.load(stats + 2)
    factor = tl.load(upstream + row) * inverse_temperature
    log_other = tl.load(other + row) * inverse_temperature - t_log
    for start in range(0, num_classes, BLOCK):
        column = start + tl.arange(0, BLOCK)
        is_other = _is_other(column, index, num_kept) & (column < num_classes)
        log_s = tl.load(student + column, mask=is_other, other=0).to(tl.float32) * inverse_temperature - s_log
        tl.store(grad + column, factor * _slope(log_s, log_other, reverse, DIRECTION), mask=is_other)
    place = tl.arange(0, KEPT)
    is_kept = place < num_kept
    log_t = tl.load(value + row * num_kept + place, mask=is_kept, other=0) * inverse_temperature - t_log
    number = tl.load(index + place, mask=is_kept, other=0)
    kept_s = tl.load(student + number, mask=is_kept, other=0).to(tl.float32) * inverse_temperature - s_log
    tl.store(grad + number, factor * _slope(kept_s, log_t, reverse, DIRECTION), mask=is_kept)


@triton.jit
def _is_other(column, index, num_kept):
    is_other = column >= 0
    for k in range(num_kept):
        is_other = is_other & (column != tl.load(index + k))
    return is_other


@triton.jit
def _slope(log_s, log_t, reverse, DIRECTION: tl.constexpr):
    s = tl.exp(log_s)
    if DIRECTION == 0:
        slope = 0.5 * (s * (log_s - log_t - reverse + 1.0) - tl.exp(log_t))
    elif DIRECTION == 1:
        slope = s - tl.exp(log_t)
    else:
        slope = s * (log_s - log_t - reverse)
    return slope
