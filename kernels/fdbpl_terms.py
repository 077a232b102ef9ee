"""What FDBPL and KDPL ask of each crop's logits, all in one pass: a value for each crop, with slopes derived by hand.

`plain_terms` is the definition, made of the plain functions. The fused form reads student's, teacher's and negative
logits together: on a GPU one Triton kernel forward and one backward, a program for each crop, that keep a few numbers a
crop and compute the rest again; elsewhere torch, with far fewer passes and temporaries than the plain functions. Crops
are independent, so a vmap over students is the same pass over more rows, and the teacher's logits stay as they are.
Letters: B crops, C classes, N students.
"""

import math
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor

from fdbpl.kernels import dual_prompt
from fdbpl.kernels.distillation import Direction, check_direction, check_pair, kl_divergence
from fdbpl.kernels.fdbpl_terms_autograd import Options, take_terms

# One of each kind: making them anew would take as long as a small operation.
_options = lru_cache(Options)


class Terms(NamedTuple):
    """One float32 value for each crop [B]. Without negative logits there is no rejection and no separation; the
    weight, a constant, is None where it was not asked for."""

    agreement_B: Tensor
    weight_B: Tensor | None
    rejection_B: Tensor | None
    separation_B: Tensor | None


def fdbpl_terms(
    student_BC: Tensor,
    teacher_BC: Tensor,
    negative_BC: Tensor | None = None,
    *,
    direction: Direction = "symmetric",
    temperature: float = 1.0,
    subtract: float = 0.0,
    weighted: bool = True,
    fused: bool = True,
) -> Terms:
    """The divergence of student and teacher, the teacher's informative weight, and the terms of a negative prompt.

    Args:
        student_BC: finite logits that answer, of any float type; computed in float32.
        teacher_BC: the teacher's, of which gradients take no account.
        negative_BC: those of the negative prompts.
        direction, temperature: of the divergence, as in `kl_divergence`; the other terms are at temperature 1.
        subtract: the part of the negative logits that was taken from the positive ones to give student_BC. The cosine
            is that of positive and negative logits.
        weighted: whether the informative weight is wanted.
        fused: False takes `plain_terms`.

    Returns:
        Terms. Gradients reach student_BC and negative_BC; there are no second derivatives of the fused form.

    Raises:
        ValueError: shapes that differ or are not [B, C], another direction, fewer than two classes to weigh.
    """
    options = _options(direction=direction, temperature=temperature, subtract=subtract, weighted=weighted)
    if not fused:
        return plain_terms(student_BC, teacher_BC, negative_BC, options)
    check_pair(student_BC, teacher_BC)
    check_direction(direction)
    num_classes = student_BC.shape[-1]
    if weighted:
        dual_prompt.check_num_classes(num_classes)
    if negative_BC is not None:
        dual_prompt.check_pair(student_BC, negative_BC)
    agreement_B, entropy_B, *dual = take_terms(student_BC, teacher_BC, negative_BC, options)
    weight_B = None if entropy_B is None else 1.0 - entropy_B / math.log(num_classes)
    rejection_B, separation_B = dual if negative_BC is not None else (None, None)
    return Terms(agreement_B, weight_B, rejection_B, separation_B)


def plain_terms(student_BC: Tensor, teacher_BC: Tensor, negative_BC: Tensor | None, options: Options) -> Terms:
    """The same by the plain functions, one after another."""
    agreement_B = kl_divergence(student_BC, teacher_BC, direction=options.direction, temperature=options.temperature)
    weight_B = dual_prompt.informative_weight(teacher_BC) if options.weighted else None
    if negative_BC is None:
        return Terms(agreement_B, weight_B, None, None)
    positive_BC = student_BC + options.subtract * negative_BC if options.subtract else student_BC
    separation_B = dual_prompt.separation(positive_BC, negative_BC)
    return Terms(agreement_B, weight_B, dual_prompt.rejection(negative_BC), separation_B)
