"""What `fdbpl bench kernels` computes: each kernel beside its reference, forward and backward, on the same numbers.

A way is a call that gives values and gradients. References are what one would write in torch at once: the plain
functions, one after another, or a loop over pairs.
Letters: B crops, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fdbpl.kernels.distillation import kl_divergence
from fdbpl.kernels.fdbpl_terms import Terms, fdbpl_terms
from fdbpl.kernels.feature_distillation import feature_kl_divergence
from fdbpl.kernels.ranking import difference_ranking
from fdbpl.kernels.topk_distillation import topk_kl_divergence

EAGER, DOUBLE_LOOP = "eager", "double loop"
Way = Callable[[], list[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of one comparison, and where its tensors are."""

    batch: int
    classes: int
    device: str

    def logits(self, seed: int) -> Tensor:
        """As CLIP has them: cosines times 100."""
        values_BC = 5.0 * torch.randn((self.batch, self.classes), generator=torch.Generator().manual_seed(seed)) + 20.0
        return values_BC.to(self.device)


def kdpl(size: Size, *, weighted: bool = False) -> dict[str, Way]:
    """KDPL's divergence of each crop."""
    student_BC, teacher_BC = size.logits(1).requires_grad_(), size.logits(2)

    def way(*, fused: bool) -> list[Tensor]:
        terms = fdbpl_terms(student_BC, teacher_BC, weighted=weighted, fused=fused)
        loss_B = _weight(terms) * terms.agreement_B if weighted else terms.agreement_B
        return _with_gradients(loss_B, [student_BC])

    return {EAGER: lambda: way(fused=False), "fused": lambda: way(fused=True)}


def fdbpl(size: Size) -> dict[str, Way]:
    """FDBPL's terms of each crop."""
    student_BC, negative_BC = size.logits(1).requires_grad_(), size.logits(2).requires_grad_()
    teacher_BC = size.logits(3)

    def way(*, fused: bool) -> list[Tensor]:
        terms = fdbpl_terms(student_BC, teacher_BC, negative_BC, fused=fused)
        weight_B = _weight(terms)
        assert terms.rejection_B is not None and terms.separation_B is not None
        loss_B = weight_B * (terms.agreement_B + terms.separation_B) + (1.0 - weight_B) * terms.rejection_B
        return _with_gradients(loss_B, [student_BC, negative_BC])

    return {EAGER: lambda: way(fused=False), "fused": lambda: way(fused=True)}


def ranking(size: Size) -> dict[str, Way]:
    """FDBPL's ranking of the classes' differences."""
    labels_B = torch.randint(size.classes, (size.batch,), generator=torch.Generator().manual_seed(1)).to(size.device)
    projections_BC = (size.logits(2) / 100).requires_grad_()
    weights_B = torch.rand(size.batch, generator=torch.Generator().manual_seed(3)).to(size.device)
    arguments = projections_BC, labels_B, weights_B
    return {
        DOUBLE_LOOP: lambda: _with_gradients(ranking_by_loop(*arguments), [projections_BC]),
        "closed form": lambda: _with_gradients(difference_ranking(*arguments), [projections_BC]),
    }


def ranking_by_loop(projections_BC: Tensor, labels_B: Tensor, weights_B: Tensor, margin: float = 0.2) -> Tensor:
    """`difference_ranking` as it is defined, pair by pair. Numbers are taken apart once, for what a pair takes of a
    whole matrix would have a whole matrix as its gradient."""
    labels, weights = labels_B.tolist(), weights_B.unbind()
    projections = [row.unbind() for row in projections_BC[:, labels_B].unbind()]  # [i][j] = f_i . d(label of j)
    total, num_pairs = projections_BC.new_zeros(()), 0
    for i in range(len(labels)):
        for j in range(i):
            if labels[i] != labels[j]:
                gap = (projections[i][i] - projections[i][j]) - (projections[j][i] - projections[j][j])
                total = total + weights[i] * weights[j] * (margin - gap).clamp(min=0)
                num_pairs += 1
    return total / max(num_pairs, 1)


def top_k(size: Size) -> dict[str, Way]:
    """The divergence from a teacher of which the 16 likeliest classes are known."""
    student_BC = size.logits(1).requires_grad_()
    value_BK, index_BK = size.logits(2).topk(min(16, size.classes), dim=-1)
    other_B = value_BK[:, -1] - 3.0

    def written_out() -> list[Tensor]:
        teacher_BC = other_B.unsqueeze(-1).repeat(1, size.classes).scatter_(1, index_BK, value_BK)
        return _with_gradients(kl_divergence(student_BC, teacher_BC), [student_BC])

    def kept_alone() -> list[Tensor]:
        return _with_gradients(topk_kl_divergence(student_BC, value_BK, index_BK, other_B), [student_BC])

    return {EAGER: written_out, "top-k": kept_alone}


def features(size: Size) -> dict[str, Way]:
    """The divergence of cosines: a student of width 512, a teacher of 1024; gradients go to the student's texts."""
    generator = torch.Generator().manual_seed(1)
    shapes = (size.batch, 512), (size.classes, 512), (size.batch, 1024), (size.classes, 1024)
    vectors = [normalize(torch.randn(shape, generator=generator), dim=-1).to(size.device) for shape in shapes]
    features_BD, texts_CD, teacher_BE, teacher_CE = vectors
    texts_CD.requires_grad_()

    def products() -> list[Tensor]:
        student_BC, teacher_BC = 100.0 * features_BD @ texts_CD.T, 100.0 * teacher_BE @ teacher_CE.T
        return _with_gradients(kl_divergence(student_BC, teacher_BC), [texts_CD])

    def chunks() -> list[Tensor]:
        values_B = feature_kl_divergence(*vectors, student_scale=100.0, teacher_scale=100.0)
        return _with_gradients(values_B, [texts_CD])

    return {EAGER: products, "chunks": chunks}


CASES: dict[str, Callable[[Size], dict[str, Way]]] = {
    "kdpl": kdpl,
    "kdpl weighted": partial(kdpl, weighted=True),
    "fdbpl": fdbpl,
    "difference ranking": ranking,
    "top-k kl": top_k,
    "feature kl": features,
}
"""By kernel; of the ways that each gives the first is the reference."""


def _weight(terms: Terms) -> Tensor:
    assert terms.weight_B is not None, "weighted by default"
    return terms.weight_B


def _with_gradients(values: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    return [values.detach(), *torch.autograd.grad(values.mean(), leaves)]
