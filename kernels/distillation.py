"""Divergences between a student's and a teacher's class distributions.

Every function is pure, returns one float32 value per example and leaves the reduction to the caller.
Letters: B batch, C classes.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

Direction = Literal["symmetric", "forward", "reverse"]


def class_log_probs(logits_BC: Tensor) -> Tensor:
    """Log-probabilities over the classes, [B, C] float32, whatever the precision of the logits."""
    if logits_BC.ndim != 2:
        raise ValueError(f"found logits of shape {tuple(logits_BC.shape)}, expected [B, C]")
    return log_softmax(logits_BC, dim=-1, dtype=torch.float32)


def entropy(log_p_BC: Tensor) -> Tensor:
    """Shannon entropy of each example in nats, [B] float32, from log-probabilities [B, C]."""
    p_BC = log_p_BC.exp()
    return -torch.where(p_BC > 0, p_BC * log_p_BC, torch.zeros_like(p_BC)).sum(dim=-1)


def kl_divergence(
    student_logits_BC: Tensor,
    teacher_logits_BC: Tensor,
    *,
    direction: Direction = "symmetric",
    temperature: float = 1.0,
) -> Tensor:
    """How far each example's student distribution S is from the teacher's T, in nats.

    Args:
        student_logits_BC: scaled logits of the student, any float type.
        teacher_logits_BC: scaled logits of the teacher over the same classes in the same order.
        direction: `symmetric` 0.5 KL(T || S) + 0.5 KL(S || T) (KDPL, arXiv 2407.03056), `forward` KL(T || S)
            (Hinton et al., arXiv 1503.02531; PromptKD, arXiv 2403.02781), `reverse` KL(S || T).
        temperature: divides both sides' logits. The value is not multiplied by its square.

    Returns:
        [B] float32, never negative beyond rounding.

    Raises:
        ValueError: the shapes differ or are not [B, C]; another direction.
    """
    check_pair(student_logits_BC, teacher_logits_BC)
    check_direction(direction)
    student_BC = class_log_probs(student_logits_BC / temperature)
    teacher_BC = class_log_probs(teacher_logits_BC / temperature)
    if direction == "symmetric":
        # The sum of both directions in one product: sum (t - s)(log t - log s) / 2.
        return 0.5 * ((teacher_BC.exp() - student_BC.exp()) * (teacher_BC - student_BC)).sum(dim=-1)
    if direction == "forward":
        return (teacher_BC.exp() * (teacher_BC - student_BC)).sum(dim=-1)
    return (student_BC.exp() * (student_BC - teacher_BC)).sum(dim=-1)


def check_pair(student_logits_BC: Tensor, teacher_logits_BC: Tensor) -> None:
    """ValueError unless both are logits over one class list."""
    if student_logits_BC.ndim != 2:
        raise ValueError(f"found logits of shape {tuple(student_logits_BC.shape)}, expected [B, C]")
    if student_logits_BC.shape != teacher_logits_BC.shape:
        raise ValueError(
            f"found student logits {tuple(student_logits_BC.shape)} and teacher logits "
            f"{tuple(teacher_logits_BC.shape)}, expected the same [B, C]: compare over one class list"
        )


def check_direction(direction: str) -> None:
    """ValueError unless it is a `Direction`."""
    if direction not in get_args(Direction):
        raise ValueError(f"found direction = {direction!r}, expected one of {', '.join(get_args(Direction))}")
