"""What FDBPL adds to distillation: how informative a crop is, and the terms of a negative prompt for each class
(arXiv 2505.18053).

Every function is pure, returns one float32 value per example and leaves the reduction to the caller.
Letters: B batch, C classes.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, logsigmoid

from fdbpl.kernels.distillation import class_log_probs, entropy


def informative_weight(teacher_logits_BC: Tensor) -> Tensor:
    """w = 1 - H(T) / log C of each example: 1 where the teacher is certain, 0 where it knows nothing. [B] float32, a
    constant: no gradient reaches the teacher.

    Raises:
        ValueError: fewer than two classes, where log C is zero.
    """
    num_classes = teacher_logits_BC.shape[-1]
    check_num_classes(num_classes)
    return 1.0 - entropy(class_log_probs(teacher_logits_BC.detach())) / math.log(num_classes)


def rejection(negative_logits_BC: Tensor) -> Tensor:
    """Minus the entropy of the negative prompts' distribution S-, [B]: lowest where they tell nothing. It is
    KL(S- || uniform) - log C."""
    return -entropy(class_log_probs(negative_logits_BC))


def separation(positive_logits_BC: Tensor, negative_logits_BC: Tensor) -> Tensor:
    """The cosine of an example's two logit vectors, [B].

    Raises:
        ValueError: shapes that differ.
    """
    check_pair(positive_logits_BC, negative_logits_BC)
    return cosine_similarity(positive_logits_BC.to(torch.float32), negative_logits_BC.to(torch.float32), dim=-1)


def presence(positive_logits_BC: Tensor, negative_logits_BC: Tensor, present_BC: Tensor) -> Tensor:
    """How wrongly the prompts of each class, positive against negative, tell whether the class is there: a binary
    cross-entropy of a_c = sigmoid(z+_c - z-_c), [B] in nats.

        - sum_c t_c log a_c - mean_c (1 - t_c) log(1 - a_c)

    The class that is there is one, those that are not are many: the mean keeps both sides alike whatever C is.

    Args:
        positive_logits_BC, negative_logits_BC: scaled logits.
        present_BC: t, how far each class is there, in [0, 1].

    Raises:
        ValueError: shapes that differ.
    """
    if not positive_logits_BC.shape == negative_logits_BC.shape == present_BC.shape:
        raise ValueError(
            f"found positive logits {tuple(positive_logits_BC.shape)}, negative logits "
            f"{tuple(negative_logits_BC.shape)} and presence {tuple(present_BC.shape)}, expected the same [B, C]"
        )
    margins_BC = positive_logits_BC.to(torch.float32) - negative_logits_BC.to(torch.float32)
    there_B = -(present_BC * logsigmoid(margins_BC)).sum(dim=-1)
    return there_B - ((1.0 - present_BC) * logsigmoid(-margins_BC)).mean(dim=-1)


def check_num_classes(num_classes: int) -> None:
    """ValueError where there is nothing to be uncertain of."""
    if num_classes < 2:
        raise ValueError(f"found {num_classes} class, expected two or more: one class has no entropy")


def check_pair(positive_logits_BC: Tensor, negative_logits_BC: Tensor) -> None:
    """ValueError unless both prompts' logits are over the same crops and classes."""
    if positive_logits_BC.shape != negative_logits_BC.shape:
        raise ValueError(
            f"found positive logits {tuple(positive_logits_BC.shape)} and negative logits "
            f"{tuple(negative_logits_BC.shape)}, expected the same [B, C]"
        )
