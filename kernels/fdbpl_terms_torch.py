"""`fdbpl_terms` in torch, for any device: each exponential once, and slopes taken while everything is at hand.

Like the plain functions it takes logarithms of whole rows first and subtracts these, so that large logits lose nothing.
What backward needs is computed in forward, in place of what is not needed any more: backward is a few products. At most
five arrays of [B, C] are held at once, and two are kept.
Letters: B crops, C classes. Axes of students may stand before B; where the teacher's logits lack them, all students
share these.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.linalg import vecdot, vector_norm
from torch.nn.functional import log_softmax

if TYPE_CHECKING:
    from fdbpl.kernels.fdbpl_terms_autograd import Options

# What a shorter vector is taken to be long, as in torch's cosine_similarity.
_SHORTEST = 1e-8


def forward(
    student_BC: Tensor, teacher_BC: Tensor, negative_BC: Tensor | None, options: "Options"
) -> tuple[tuple[Tensor | None, ...], tuple[Tensor, ...]]:
    """Values [B] (agreement, the teacher's entropy where it is wanted, and of a negative prompt rejection, separation),
    and what `backward` wants kept."""
    agreement_B, entropy_B, slope_BC = _agreement(student_BC.float(), teacher_BC.float(), options)
    if negative_BC is None:
        return (agreement_B, entropy_B), (slope_BC,)
    log_n_BC = log_softmax(negative_BC, dim=-1, dtype=torch.float32)
    n_BC = log_n_BC.exp()
    rejection_B = vecdot(n_BC, log_n_BC)
    # d(sum n log n) = n (log n - sum n log n)
    away_BC = log_n_BC.sub_(rejection_B.unsqueeze(-1)).mul_(n_BC)
    separation_B, turns_B3 = _separation(student_BC.float(), negative_BC.float(), options.subtract)
    return (agreement_B, entropy_B, rejection_B, separation_B), (slope_BC, away_BC, turns_B3)


def inputs_kept(
    student_BC: Tensor, teacher_BC: Tensor, negative_BC: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Those of these that `backward` looks at."""
    return (None if negative_BC is None else student_BC), None, negative_BC


def backward(
    upstream: tuple[Tensor, ...],
    student_BC: Tensor | None,
    teacher_BC: Tensor | None,
    negative_BC: Tensor | None,
    kept: tuple[Tensor, ...],
    options: "Options",
) -> tuple[Tensor, Tensor | None]:
    """Gradients of student_BC and negative_BC in float32, from those of the values that `forward` gives."""
    factor = _slope_factor(options)
    agreement_B = upstream[0] if factor == 1.0 else upstream[0] * factor
    grad_BC = kept[0] * agreement_B.unsqueeze(-1)
    if student_BC is None or negative_BC is None:
        return grad_BC, None
    own_B1, cross_B1, other_B1 = (kept[2] * upstream[3].unsqueeze(-1)).split(1, dim=-1)
    negative_grad_BC = kept[1] * upstream[2].unsqueeze(-1)
    grad_BC.addcmul_(student_BC, own_B1).addcmul_(negative_BC, cross_B1)
    negative_grad_BC.addcmul_(student_BC, cross_B1).addcmul_(negative_BC, other_B1)
    return grad_BC, negative_grad_BC


def _slope_factor(options: "Options") -> float:
    """What the slope that is kept still lacks."""
    return (0.5 if options.direction == "symmetric" else 1.0) / options.temperature


def _agreement(student_BC: Tensor, teacher_BC: Tensor, options: "Options") -> tuple[Tensor, Tensor | None, Tensor]:
    """The divergence and the teacher's entropy [B], and the divergence's slope [B, C], but for its factor, along the
    student's logits."""
    temperature, entropy_B = options.temperature, None
    log_s_BC = log_softmax(student_BC if temperature == 1.0 else student_BC / temperature, dim=-1)
    log_t_BC = log_softmax(teacher_BC if temperature == 1.0 else teacher_BC / temperature, dim=-1)
    s_BC, t_BC = log_s_BC.exp(), log_t_BC.exp()
    gap_BC = log_s_BC.sub_(log_t_BC)
    if options.weighted and temperature == 1.0:
        entropy_B = -vecdot(t_BC, log_t_BC)
    elif options.weighted:
        log_t_BC = log_softmax(teacher_BC, dim=-1)
        entropy_B = -vecdot(log_t_BC.exp(), log_t_BC)
    if options.direction == "forward":
        return -vecdot(t_BC, gap_BC), entropy_B, s_BC.sub_(t_BC)
    reverse_B = vecdot(s_BC, gap_BC)
    if options.direction == "reverse":
        return reverse_B, entropy_B, gap_BC.sub_(reverse_B.unsqueeze(-1)).mul_(s_BC)
    apart_BC = s_BC - t_BC
    agreement_B = 0.5 * vecdot(apart_BC, gap_BC)
    slope_BC = apart_BC.addcmul_(s_BC, gap_BC.sub_(reverse_B.unsqueeze(-1)))
    return agreement_B, entropy_B, slope_BC


def _separation(student_BC: Tensor, negative_BC: Tensor, subtract: float) -> tuple[Tensor, Tensor]:
    """The cosine [B], and its slopes' coefficients [B, 3]: along the student's logits it rises by own * student +
    cross * negative, along the negative ones by cross * student + other * negative."""
    positive_BC = torch.add(student_BC, negative_BC, alpha=subtract) if subtract else student_BC
    length_B = vector_norm(positive_BC, dim=-1).clamp_(min=_SHORTEST)
    negative_length_B = vector_norm(negative_BC, dim=-1).clamp_(min=_SHORTEST)
    cross_B = (length_B * negative_length_B).reciprocal_()
    cosine_B = vecdot(positive_BC, negative_BC).mul_(cross_B)
    own_B = (cosine_B / length_B.square_()).neg_()
    other_B = (cosine_B / negative_length_B.square_()).neg_()
    if subtract:  # positive_BC is made of both
        other_B = other_B + 2 * subtract * cross_B + subtract**2 * own_B
        cross_B = cross_B + subtract * own_B
    return cosine_B, torch.stack((own_B, cross_B, other_B), dim=-1)
