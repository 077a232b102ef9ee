"""How `fdbpl_terms` takes part in automatic differentiation: one step, and under torch.func's transforms.

Two functions do the same: torch.autograd.Function in the form that torch.func can transform costs as much as ten small
operations more a call, so that it is taken where a transform is at work alone. Crops are independent: a vmap over
students is one call on [N, B, C].
Letters: N students, B crops, C classes.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fdbpl.kernels import fdbpl_terms_torch
from fdbpl.kernels.distillation import Direction


@dataclass(frozen=True, kw_only=True)
class Options:
    """Those of `fdbpl_terms`."""

    direction: Direction
    temperature: float
    subtract: float
    weighted: bool


def take_terms(student: Tensor, teacher: Tensor, negative: Tensor | None, options: Options) -> tuple[Any, ...]:
    """Agreement, entropy of the teacher (None where no weight is wanted), and where there are negative logits
    rejection and separation."""
    # The same question that torch's own apply asks.
    if not torch._C._are_functorch_transforms_active():
        values: tuple[Any, ...] = _Terms.apply(student, teacher, negative, options)
        return values
    return tuple(_MappedTerms.apply(student, teacher, negative, options)[: _num_values(negative)])


def _num_values(negative: Tensor | None) -> int:
    return 2 if negative is None else 4


def _passes(device: torch.device) -> ModuleType:
    """The module whose `forward` and `backward` suit a device."""
    if device.type == "cuda":
        from fdbpl.kernels import fdbpl_terms_triton

        return fdbpl_terms_triton
    return fdbpl_terms_torch


class _Terms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, negative: Tensor | None, options: Options
    ) -> tuple[Tensor | None, ...]:
        passes = _passes(student.device)
        values, kept = passes.forward(student, teacher, negative, options)
        ctx.save_for_backward(*passes.inputs_kept(student, teacher, negative), *kept)
        ctx.options = options
        ctx.set_materialize_grads(False)
        if values[1] is not None:
            ctx.mark_non_differentiable(values[1])
        return tuple(values)

    # Arithmetic under torch.no_grad, as in an ordinary backward, is not to be derived again: a call, not a function.
    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        slopes: Any = _Slopes.apply if torch.is_grad_enabled() else _slopes
        grad, negative_grad = slopes(ctx.options, *_given(upstream), *ctx.saved_tensors)
        return grad, None, negative_grad, None


class _MappedTerms(torch.autograd.Function):
    """Values, and behind them what is kept. The axes of students stand in front."""

    @staticmethod
    def forward(
        student: Tensor, teacher: Tensor, negative: Tensor | None, options: Options
    ) -> tuple[Tensor | None, ...]:
        values, kept = _passes(student.device).forward(student, teacher, negative, options)
        return (*values, *kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        student, teacher, negative, options = inputs
        ctx.num_values = _num_values(negative)
        kept = output[ctx.num_values :]
        ctx.save_for_backward(*_passes(student.device).inputs_kept(student, teacher, negative), *kept)
        ctx.options = options
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*kept, *(() if output[1] is None else (output[1],)))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, negative_grad = _Slopes.apply(ctx.options, *_given(upstream[: ctx.num_values]), *ctx.saved_tensors)
        return grad, None, negative_grad, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], *arguments: Any
    ) -> tuple[tuple[Tensor | None, ...], tuple[int | None, ...]]:
        student, teacher, negative, options = _stacked(info.batch_size, in_dims, arguments, own={1})
        entropy_dim = None
        shared = 0
        if in_dims[1] is not None:  # the students of further axes share it, and so its entropy
            entropy_dim, shared = 0, student.ndim - teacher.ndim
            teacher = teacher.reshape(teacher.shape[0], *(1,) * shared, *teacher.shape[1:]).expand(student.shape)
        agreement, entropy, *rest = _MappedTerms.apply(student, teacher, negative, options)
        for _ in range(shared if options.weighted else 0):
            entropy = entropy[:, 0]
        return (agreement, entropy, *rest), (0, entropy_dim if options.weighted else None, *(0 for _ in rest))


class _Slopes(torch.autograd.Function):
    """The gradients, as a function that torch.func can map over students, and that refuses to be derived again."""

    @staticmethod
    def forward(*arguments: Any) -> tuple[Tensor, Tensor | None]:
        return _slopes(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise RuntimeError("found a second derivative of fdbpl_terms asked for, expected the first: set fused = False")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, tuple[int, int | None]]:
        grad, negative_grad = _Slopes.apply(*_stacked(info.batch_size, in_dims, arguments, own={_TEACHER}))
        return (grad, negative_grad), (0, None if negative_grad is None else 0)


_TEACHER = 6  # its place among the arguments of _slopes


def _slopes(
    options: Options,
    agreement_up: Tensor | None,
    _entropy_up: Tensor | None,
    rejection_up: Tensor | None,
    separation_up: Tensor | None,
    student: Tensor | None,
    teacher: Tensor | None,
    negative: Tensor | None,
    *kept: Tensor,
) -> tuple[Tensor, Tensor | None]:
    assert agreement_up is not None, "something is asked for, and where it is not this there are zeros"
    upstream = (agreement_up, None, rejection_up, separation_up)
    slopes: tuple[Tensor, Tensor | None]
    slopes = _passes(agreement_up.device).backward(upstream, student, teacher, negative, kept, options)
    return slopes


def _given(upstream: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Upstream gradients of four values: zeros where a term plays no part in the loss."""
    if len(upstream) == 2:
        return (upstream[0], None, None, None)
    agreement, _, rejection, separation = upstream
    if agreement is None or rejection is None or separation is None:
        some = next(one for one in upstream if one is not None)
        agreement, rejection, separation = (
            torch.zeros_like(some) if one is None else one for one in (agreement, rejection, separation)
        )
    return (agreement, None, rejection, separation)


def _stacked(size: int, in_dims: tuple[Any, ...], arguments: tuple[Any, ...], own: set[int]) -> list[Any]:
    """Arguments with the mapped axis in front: those that lack it are repeated, but for the places in `own`."""
    return [
        one
        if not isinstance(one, Tensor) or (dim is None and place in own)
        else (one.expand(size, *one.shape) if dim is None else one.movedim(dim, 0))
        for place, (one, dim) in enumerate(zip(arguments, in_dims, strict=True))
    ]
