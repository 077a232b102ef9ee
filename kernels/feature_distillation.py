"""Distilling over many classes straight from features: no logits of all classes are ever held.

Student and teacher are features times texts. Both products are made a chunk of classes at a time, in forward, which
sums up relative to the largest logit so far (online softmax, arXiv 1805.02867), and again in backward. Memory beside
inputs and gradients: four arrays of [B, classes_at_once] in float32 at most (and a chunk of texts in float32 where they
are not), where plain products and `kl_divergence` hold eight of [B, C] or so; three numbers a crop are kept. Price: the
products are made twice. They are what takes the time, and cuBLAS's or the CPU library's, so that there is no kernel of
our own here. Classes that fit in one chunk are left to the plain functions.
Letters: B crops, C classes, D the student's width, E the teacher's.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vecdot

from fdbpl.kernels.distillation import Direction, check_direction, kl_divergence

# Less than any logit, and finite: its products with zero are zero.
_LOWEST = -3e38


@dataclass(frozen=True, kw_only=True)
class _Options:
    student_scale: float
    teacher_scale: float
    direction: Direction
    temperature: float
    classes_at_once: int


def feature_kl_divergence(
    features_BD: Tensor,
    texts_CD: Tensor,
    teacher_features_BE: Tensor,
    teacher_texts_CE: Tensor,
    *,
    student_scale: float,
    teacher_scale: float,
    direction: Direction = "symmetric",
    temperature: float = 1.0,
    classes_at_once: int = 2048,
) -> Tensor:
    """`kl_divergence` of the logits scale * features . texts of student and teacher.

    Args:
        features_BD, texts_CD: the student's, of any float type; gradients go to these two. Unit vectors where logits
            are to be cosines: nothing is normalised here.
        teacher_features_BE, teacher_texts_CE: the teacher's, over the same classes in the same order.
        student_scale, teacher_scale: of the cosines.
        direction, temperature: as in `kl_divergence`.
        classes_at_once: how many classes a chunk has; where these are all, the plain functions are taken.

    Returns:
        [B] float32. There are no second derivatives.

    Raises:
        ValueError: shapes that do not fit together, another direction, a chunk of no class.
    """
    check_direction(direction)
    _check(features_BD, texts_CD, teacher_features_BE, teacher_texts_CE)
    if classes_at_once < 1:
        raise ValueError(f"found classes_at_once = {classes_at_once}, expected 1 or more")
    # A single chunk saves nothing. And what torch's own apply asks too: torch.func cannot transform this form of a
    # function.
    if len(texts_CD) <= classes_at_once or torch._C._are_functorch_transforms_active():
        return kl_divergence(
            student_scale * features_BD.float() @ texts_CD.float().T,
            teacher_scale * teacher_features_BE.float() @ teacher_texts_CE.float().T,
            direction=direction,
            temperature=temperature,
        )
    options = _Options(
        student_scale=student_scale,
        teacher_scale=teacher_scale,
        direction=direction,
        temperature=temperature,
        classes_at_once=classes_at_once,
    )
    values_B: Tensor = _Divergence.apply(features_BD, texts_CD, teacher_features_BE, teacher_texts_CE, options)
    return values_B


def _check(features_BD: Tensor, texts_CD: Tensor, teacher_features_BE: Tensor, teacher_texts_CE: Tensor) -> None:
    fits = (
        features_BD.shape[1:] == texts_CD.shape[1:]
        and teacher_features_BE.shape[1:] == teacher_texts_CE.shape[1:]
        and len(features_BD) == len(teacher_features_BE)
        and len(texts_CD) == len(teacher_texts_CE)
    )
    if not fits:
        raise ValueError(
            f"found features {tuple(features_BD.shape)} and texts {tuple(texts_CD.shape)} of the student, "
            f"{tuple(teacher_features_BE.shape)} and {tuple(teacher_texts_CE.shape)} of the teacher, expected [B, D], "
            "[C, D], [B, E] and [C, E]: the same crops and one class list"
        )


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, texts: Tensor, teacher_features: Tensor, teacher_texts: Tensor, options: _Options
    ) -> Tensor:
        inputs = features, texts, teacher_features, teacher_texts
        values_B, stats_3B = _sums(inputs, options)
        ctx.save_for_backward(*inputs, stats_3B)
        ctx.options = options
        return values_B

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream_B: Tensor) -> tuple[Tensor | None, ...]:
        features, texts, teacher_features, teacher_texts, stats_3B = ctx.saved_tensors
        inputs = features, texts, teacher_features, teacher_texts
        wants_features, wants_texts = ctx.needs_input_grad[:2]
        grad_BD = torch.zeros_like(features, dtype=torch.float32) if wants_features else None
        grad_CD = torch.empty_like(texts) if wants_texts else None
        scaled_B1 = (upstream_B * (ctx.options.student_scale / ctx.options.temperature)).unsqueeze(-1)
        for chunk, student_BK, teacher_BK in _chunks(inputs, ctx.options):
            slope_BK = _slope(student_BK, teacher_BK, stats_3B, ctx.options.direction).mul_(scaled_B1)
            if grad_BD is not None:
                grad_BD.addmm_(slope_BK, texts[chunk].float())
            if grad_CD is not None:
                grad_CD[chunk] = slope_BK.T @ features.float()
        return None if grad_BD is None else grad_BD.to(features.dtype), grad_CD, None, None, None


def _chunks(inputs: tuple[Tensor, ...], options: _Options) -> Any:
    """Slices of the classes with both sides' logits over them, over the temperature, [B, K]."""
    features_BD, texts_CD, teacher_features_BE, teacher_texts_CE = inputs
    scaled_BD = features_BD.float() * (options.student_scale / options.temperature)
    scaled_BE = teacher_features_BE.float() * (options.teacher_scale / options.temperature)
    for start in range(0, len(texts_CD), options.classes_at_once):
        chunk = slice(start, start + options.classes_at_once)
        yield chunk, scaled_BD @ texts_CD[chunk].float().T, scaled_BE @ teacher_texts_CE[chunk].float().T


def _sums(inputs: tuple[Tensor, ...], options: _Options) -> tuple[Tensor, Tensor]:
    """Values [B], and of each crop the logarithms of both sums of exponentials and the reverse divergence [3, B]."""
    zeros_B = torch.zeros(len(inputs[0]), dtype=torch.float32, device=inputs[0].device)
    s_top_B, t_top_B = zeros_B + _LOWEST, zeros_B + _LOWEST
    s_total_B, t_total_B, s_gap_B, t_gap_B = zeros_B, zeros_B, zeros_B, zeros_B
    for _, s_BK, t_BK in _chunks(inputs, options):
        s_next_B, t_next_B = torch.maximum(s_top_B, s_BK.amax(dim=-1)), torch.maximum(t_top_B, t_BK.amax(dim=-1))
        s_fade_B, t_fade_B = (s_top_B - s_next_B).exp(), (t_top_B - t_next_B).exp()
        # Gaps are relative to that of both tops.
        shift_B = (s_top_B - s_next_B) - (t_top_B - t_next_B)
        gap_BK = s_BK.sub_(s_next_B.unsqueeze(-1)) - t_BK.sub_(t_next_B.unsqueeze(-1))
        s_BK.exp_()
        t_BK.exp_()
        s_gap_B = s_fade_B * (s_gap_B + s_total_B * shift_B) + vecdot(s_BK, gap_BK)
        t_gap_B = t_fade_B * (t_gap_B + t_total_B * shift_B) + vecdot(t_BK, gap_BK)
        s_total_B = s_fade_B * s_total_B + s_BK.sum(dim=-1)
        t_total_B = t_fade_B * t_total_B + t_BK.sum(dim=-1)
        s_top_B, t_top_B = s_next_B, t_next_B
    s_log_B, t_log_B = s_total_B.log(), t_total_B.log()
    reverse_B = s_gap_B / s_total_B - s_log_B + t_log_B
    forward_B = s_log_B - t_log_B - t_gap_B / t_total_B
    values = {"symmetric": 0.5 * (reverse_B + forward_B), "forward": forward_B, "reverse": reverse_B}
    return values[options.direction], torch.stack((s_top_B + s_log_B, t_top_B + t_log_B, reverse_B))


def _slope(s_BK: Tensor, t_BK: Tensor, stats_3B: Tensor, direction: Direction) -> Tensor:
    """Of each crop's value along the student's logits over the temperature; in place of what is given."""
    s_log_B1, t_log_B1, reverse_B1 = stats_3B.unsqueeze(-1)
    log_s_BK, log_t_BK = s_BK.sub_(s_log_B1), t_BK.sub_(t_log_B1)
    if direction == "forward":
        return log_s_BK.exp_().sub_(log_t_BK.exp_())
    s_BK = log_s_BK.exp()
    gap_BK = log_s_BK.sub_(log_t_BK)
    if direction == "reverse":
        return gap_BK.sub_(reverse_B1).mul_(s_BK)
    return gap_BK.sub_(reverse_B1 - 1.0).mul_(s_BK).sub_(log_t_BK.exp_()).mul_(0.5)
