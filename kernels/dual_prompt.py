"""The terms of FDBPL's objective with a positive and a negative prompt for each class (arXiv 2505.18053).

Letters: B batch, C classes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fdbpl.kernels.distillation import class_log_probs, entropy, symmetric_kl


class FdbplTerms(NamedTuple):
    """The unweighted terms of each example, all [B] float32; how they combine is the objective's choice."""

    weight_B: Tensor
    agreement_B: Tensor
    rejection_B: Tensor
    separation_B: Tensor


def informative_weight(teacher_logits_BC: Tensor) -> Tensor:
    """1 - H(T) / log C of each example: 1 where the teacher is certain, 0 where it knows nothing. [B] float32.

    Raises:
        ValueError: fewer than two classes, where log C is zero.
    """
    num_classes = teacher_logits_BC.shape[-1]
    if num_classes < 2:
        raise ValueError(f"found {num_classes} class, expected two or more: one class has no entropy")
    return 1.0 - entropy(class_log_probs(teacher_logits_BC)) / math.log(num_classes)


def fdbpl_terms(teacher_logits_BC: Tensor, positive_logits_BC: Tensor, negative_logits_BC: Tensor) -> FdbplTerms:
    """Weight, agreement, rejection and separation of each example.

    Args:
        teacher_logits_BC: the teacher's scaled logits, taken as constants.
        positive_logits_BC: scaled logits against the positive prompts.
        negative_logits_BC: scaled logits against the negative prompts.

    Returns:
        weight: 1 - H(T)/log C; agreement: the symmetric KL of T and S+; rejection: minus the entropy of S-
        (lowest where the negative prompts tell nothing); separation: the cosine of the two logit vectors.

    Raises:
        ValueError: shapes that differ, or fewer than two classes.
    """
    if positive_logits_BC.shape != negative_logits_BC.shape:
        raise ValueError(
            f"found positive logits {tuple(positive_logits_BC.shape)} and negative logits "
            f"{tuple(negative_logits_BC.shape)}, expected the same [B, C]"
        )
    teacher_BC = teacher_logits_BC.detach()
    return FdbplTerms(
        weight_B=informative_weight(teacher_BC),
        agreement_B=symmetric_kl(positive_logits_BC, teacher_BC),
        rejection_B=-entropy(class_log_probs(negative_logits_BC)),
        separation_B=cosine_similarity(
            positive_logits_BC.to(torch.float32), negative_logits_BC.to(torch.float32), dim=-1
        ),
    )
