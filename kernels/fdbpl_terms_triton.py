"""`fdbpl_terms` on a GPU: how its two kernels (`fdbpl_terms_kernels`) are started.

Logits are read as they are, of any float type, and gradients written in that type. What is kept of a crop is a line of
STATS numbers. Students' axes are more rows; where the teacher's logits lack them, its rows are gone through again and
again.
"""

from typing import TYPE_CHECKING, Any

import torch
import triton
from torch import Tensor

from fdbpl.kernels.fdbpl_terms_kernels import backward_kernel, forward_kernel

if TYPE_CHECKING:
    from fdbpl.kernels.fdbpl_terms_autograd import Options

# Squared, what a shorter vector is taken to be long; and less than any logit.
_CONSTANTS: dict[str, Any] = {"STATS": 8, "SHORTEST": 1e-16, "LOWEST": -3e38}
_DIRECTIONS = {"symmetric": 0, "forward": 1, "reverse": 2}
_LARGEST_BLOCK = 1024


def forward(
    student_BC: Tensor, teacher_BC: Tensor, negative_BC: Tensor | None, options: "Options"
) -> tuple[tuple[Tensor | None, ...], tuple[Tensor, ...]]:
    """As `fdbpl_terms_torch.forward`; what is kept is [B, STATS]."""
    lead = student_BC.shape[:-1]
    student, teacher = _rows(student_BC), _rows(teacher_BC)
    negative = student if negative_BC is None else _rows(negative_BC)
    values = torch.empty((4, len(student)), dtype=torch.float32, device=student.device)
    stats = torch.empty((len(student), _CONSTANTS["STATS"]), dtype=torch.float32, device=student.device)
    forward_kernel[(len(student),)](
        student,
        teacher,
        negative,
        values,
        stats,
        student.shape[1],
        len(student),
        len(teacher),
        1.0 / options.temperature,
        options.subtract,
        WEIGHTED=options.weighted,
        TEMPERED=options.temperature != 1.0,
        **_shape(student, negative_BC, options),
    )
    agreement, entropy, *dual = values.unbind()
    of_teacher = entropy[: len(teacher)].reshape(teacher_BC.shape[:-1]) if options.weighted else None
    dual = [] if negative_BC is None else [value.reshape(lead) for value in dual]
    return (agreement.reshape(lead), of_teacher, *dual), (stats.reshape(*lead, -1),)


def inputs_kept(
    student_BC: Tensor, teacher_BC: Tensor, negative_BC: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As `fdbpl_terms_torch.inputs_kept`: all, for everything is computed again."""
    return student_BC, teacher_BC, negative_BC


def backward(
    upstream: tuple[Tensor | None, ...],
    student_BC: Tensor,
    teacher_BC: Tensor,
    negative_BC: Tensor | None,
    kept: tuple[Tensor, ...],
    options: "Options",
) -> tuple[Tensor, Tensor | None]:
    """As `fdbpl_terms_torch.backward`."""
    student, teacher = _rows(student_BC), _rows(teacher_BC)
    negative = student if negative_BC is None else _rows(negative_BC)
    grad = torch.empty_like(student)
    negative_grad = grad if negative_BC is None else torch.empty_like(negative)
    assert upstream[0] is not None
    agreement_up = upstream[0].contiguous()
    ups = [agreement_up if one is None else one.contiguous() for one in upstream[2:]]
    backward_kernel[(len(student),)](
        student,
        teacher,
        negative,
        kept[0].contiguous(),
        agreement_up,
        *ups,
        grad,
        negative_grad,
        student.shape[1],
        len(teacher),
        1.0 / options.temperature,
        **_shape(student, negative_BC, options),
    )
    own = grad.reshape(student_BC.shape)
    return own, None if negative_BC is None else negative_grad.reshape(student_BC.shape)


def _rows(logits: Tensor) -> Tensor:
    return logits.reshape(-1, logits.shape[-1]).contiguous()


def _shape(student: Tensor, negative_BC: Tensor | None, options: "Options") -> dict[str, Any]:
    block = min(triton.next_power_of_2(student.shape[1]), _LARGEST_BLOCK)
    return {
        "DIRECTION": _DIRECTIONS[options.direction],
        "DUAL": negative_BC is not None,
        "BLOCK": block,
        "num_warps": 1 if block < 256 else 4,
        **_CONSTANTS,
    }
