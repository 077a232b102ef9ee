"""Distilling from the K likeliest classes of a teacher, without making its distribution over all C of them.

A label is the logits of the kept classes, and one logit that each of the others has (their mass, spread evenly). What
the functions give is what `kl_divergence` and `informative_weight` give for the logits so written out, and so are the
gradients; but nothing of size [B, C] is made of the teacher. On a GPU one Triton kernel forward and one backward, which
keep a few numbers a crop; elsewhere torch, with two arrays of the student's size.
Letters: B crops, C classes, K kept classes.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vecdot
from torch.nn.functional import log_softmax

from fdbpl.kernels.distillation import Direction, check_direction
from fdbpl.kernels.dual_prompt import check_num_classes

# float16's lowest, below which no stored logit lies, and what float32 rounds by.
_LOWEST, _ROUNDOFF = -65504.0, 2.0**-24


def others_logit(value_BK: Tensor, logsumexp_B: Tensor, num_classes: int) -> Tensor:
    """The logit that each class that is not kept has, where logits are relative to a crop's largest, the first value.

    Mass that float32 cannot tell in `logsumexp_B` is taken as the least that it can, so that the logarithm is finite.
    Computed in float64: the others' mass is a difference.

    Args:
        value_BK: logits of the kept classes, descending from 0.
        logsumexp_B: log of the sum of exp over all classes.
        num_classes: C.

    Returns:
        [B] float32; zeros where all classes are kept. Leading axes may be any.
    """
    num_others = num_classes - value_BK.shape[-1]
    if num_others == 0:
        return torch.zeros_like(logsumexp_B, dtype=torch.float32)
    sum_B = logsumexp_B.double()
    kept_B = value_BK[..., 1:].double().exp().sum(dim=-1)
    mass_B = torch.maximum(sum_B.expm1() - kept_B, _ROUNDOFF * sum_B * sum_B.exp())
    return (mass_B / num_others).log().clamp(min=_LOWEST).to(torch.float32)


def topk_informative_weight(value_BK: Tensor, other_B: Tensor, num_classes: int) -> Tensor:
    """w = 1 - H(T) / log C of each crop [B], a constant; see `informative_weight`.

    Raises:
        ValueError: fewer than two classes.
    """
    check_num_classes(num_classes)
    log_t_BK, log_other_B = _teacher(value_BK.detach(), other_B.detach(), num_classes, 1.0)
    num_others = num_classes - value_BK.shape[1]
    entropy_B = -vecdot(log_t_BK.exp(), log_t_BK) - num_others * log_other_B.exp() * log_other_B
    weight_B: Tensor = 1.0 - entropy_B / math.log(num_classes)
    return weight_B


def topk_kl_divergence(
    student_logits_BC: Tensor,
    value_BK: Tensor,
    index_BK: Tensor,
    other_B: Tensor,
    *,
    direction: Direction = "symmetric",
    temperature: float = 1.0,
) -> Tensor:
    """How far each crop's student distribution is from the teacher's, in nats; see `kl_divergence`.

    Args:
        student_logits_BC: finite, of any float type; gradients go here alone.
        value_BK: the teacher's logits of the classes that were kept, of any float type.
        index_BK: integers, their numbers, each once.
        other_B: the logit of each class that was not kept, see `others_logit`.
        direction, temperature: as in `kl_divergence`.

    Returns:
        [B] float32. There are no second derivatives.

    Raises:
        ValueError: shapes that do not fit together, another direction.
    """
    check_direction(direction)
    num_examples, num_classes = student_logits_BC.shape
    if value_BK.shape != index_BK.shape or len(value_BK) != num_examples or other_B.shape != (num_examples,):
        raise ValueError(
            f"found student logits {tuple(student_logits_BC.shape)}, values {tuple(value_BK.shape)}, indices "
            f"{tuple(index_BK.shape)} and others {tuple(other_B.shape)}, expected [B, C], [B, K], [B, K] and [B]"
        )
    if value_BK.shape[1] > num_classes:
        raise ValueError(f"found {value_BK.shape[1]} kept classes, expected at most the student's {num_classes}")
    label = value_BK.detach().float(), index_BK.long(), other_B.detach().float()
    # What torch's own apply asks too: torch.func cannot transform this form of a function.
    if torch._C._are_functorch_transforms_active():
        return _by_autograd(student_logits_BC, *label, direction, temperature)
    values_B: Tensor = _Divergence.apply(student_logits_BC, *label, direction, temperature)
    return values_B


def _teacher(value_BK: Tensor, other_B: Tensor, num_classes: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the kept classes, and of each other one."""
    value_BK, other_B1 = _over(value_BK.float(), temperature), _over(other_B.float(), temperature).unsqueeze(-1)
    num_others = num_classes - value_BK.shape[1]
    if num_others == 0:
        return log_softmax(value_BK, dim=-1), torch.full_like(other_B, _LOWEST, dtype=torch.float32)
    # The others together are one more class.
    log_t_BK1 = log_softmax(torch.cat((value_BK, other_B1 + math.log(num_others)), dim=-1), dim=-1)
    return log_t_BK1[:, :-1], log_t_BK1[:, -1] - math.log(num_others)


def _over(logits: Tensor, temperature: float) -> Tensor:
    return logits if temperature == 1.0 else logits / temperature


def _by_autograd(
    student_BC: Tensor, value_BK: Tensor, index_BK: Tensor, other_B: Tensor, direction: Direction, temperature: float
) -> Tensor:
    """The definition, differentiated by torch."""
    log_t_BK, log_other_B = _teacher(value_BK, other_B, student_BC.shape[-1], temperature)
    log_s_BC = log_softmax(student_BC.float() / temperature, dim=-1)
    gap_BC = (log_s_BC - log_other_B.unsqueeze(-1)).scatter(1, index_BK, log_s_BC.gather(1, index_BK) - log_t_BK)
    reverse_B = (log_s_BC.exp() * gap_BC).sum(dim=-1)
    kept_BK = gap_BC.gather(1, index_BK)
    other_t_B = log_other_B.exp()
    forward_B = -((log_t_BK.exp() - other_t_B.unsqueeze(-1)) * kept_BK).sum(dim=-1) - other_t_B * gap_BC.sum(dim=-1)
    return {"symmetric": 0.5 * (reverse_B + forward_B), "forward": forward_B, "reverse": reverse_B}[direction]


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        value: Tensor,
        index: Tensor,
        other: Tensor,
        direction: Direction,
        temperature: float,
    ) -> Tensor:
        ctx.direction, ctx.temperature = direction, temperature
        if _is_by_triton(student):
            from fdbpl.kernels.topk_distillation_triton import forward

            values, stats = forward(student, value, index, other, direction, temperature)
            ctx.save_for_backward(student, value, index, other, stats)
            return values
        values, slope = _forward_by_torch(student, value, index, other, direction, temperature)
        ctx.save_for_backward(slope)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if len(ctx.saved_tensors) == 1:
            (slope,) = ctx.saved_tensors
            return (slope * upstream.unsqueeze(-1), *(None,) * 5)
        from fdbpl.kernels.topk_distillation_triton import backward

        student, value, index, other, stats = ctx.saved_tensors
        grad = backward(upstream, student, value, index, other, stats, ctx.direction, ctx.temperature)
        return (grad, *(None,) * 5)


def _is_by_triton(student: Tensor) -> bool:
    return student.is_cuda


def _forward_by_torch(
    student_BC: Tensor, value_BK: Tensor, index_BK: Tensor, other_B: Tensor, direction: Direction, temperature: float
) -> tuple[Tensor, Tensor]:
    """Values [B], and their slopes [B, C] along the student's logits."""
    log_t_BK, log_other_B = _teacher(value_BK, other_B, student_BC.shape[1], temperature)
    t_BK, other_t_B1 = log_t_BK.exp(), log_other_B.exp().unsqueeze(-1)
    log_s_BC = log_softmax(_over(student_BC.float(), temperature), dim=-1)
    s_BC = log_s_BC.exp()
    gap_BK = log_s_BC.gather(1, index_BK).sub_(log_t_BK)
    gap_BC = log_s_BC.sub_(log_other_B.unsqueeze(-1)).scatter_(1, index_BK, gap_BK)
    less_BK = other_t_B1 - t_BK
    # Along s - t, with all classes taken for others first.
    apart_BC = (s_BC - other_t_B1).scatter_add_(1, index_BK, less_BK)
    if direction == "forward":
        return vecdot(less_BK, gap_BK) - other_t_B1.squeeze(-1) * gap_BC.sum(dim=-1), _over(apart_BC, temperature)
    reverse_B = vecdot(s_BC, gap_BC)
    if direction == "reverse":
        return reverse_B, _over(gap_BC.sub_(reverse_B.unsqueeze(-1)).mul_(s_BC), temperature)
    agreement_B = 0.5 * vecdot(apart_BC, gap_BC)
    slope_BC = apart_BC.addcmul_(s_BC, gap_BC.sub_(reverse_B.unsqueeze(-1)))
    return agreement_B, slope_BC.mul_(0.5 / temperature)
