"""What `fdbpl bench kernels` computes: each kernel beside its reference, forward and backward, on the same numbers.

A way is a call that gives values and gradients. References are what one would write in torch at once: the plain
functions, one after another, or a loop over pairs.
Letters: B crops, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fdbpl.kernels.fdbpl_terms import Terms, fdbpl_terms
from fdbpl.kernels.ranking import difference_ranking

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


def kdpl(size: Size) -> dict[str, Way]:
    """KDPL's divergence, each crop weighted."""
    student_BC, teacher_BC = size.logits(1).requires_grad_(), size.logits(2)

    def way(*, fused: bool) -> list[Tensor]:
        terms = fdbpl_terms(student_BC, teacher_BC, fused=fused)
        return _with_gradients(_weight(terms) * terms.agreement_B, [student_BC])

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


CASES: dict[str, Callable[[Size], dict[str, Way]]] = {
    "kdpl": kdpl,
    "fdbpl": fdbpl,
    "difference ranking": ranking,
}
"""By kernel; of the ways that each gives the first is the reference."""


def _weight(terms: Terms) -> Tensor:
    assert terms.weight_B is not None, "weighted by default"
    return terms.weight_B


def _with_gradients(values: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    return [values.detach(), *torch.autograd.grad(values.mean(), leaves)]
