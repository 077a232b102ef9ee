"""Optimiser steps: of one student, or of several as one batched program, each as it would be alone.

Students that train together have learners of one form, over one model and the same classes. All their prompts go
through the text tower at once, prediction and loss are mapped over the students by torch.func.vmap, and each student's
optimiser steps on its own prompts: nothing of one enters another's values. Letters: N students, B batch.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import vmap

from fdbpl.pipeline.objectives.base import Objective
from fdbpl.pipeline.training.ingredients import Ingredients
from fdbpl.pipeline.training.optim import JoinedOptimizer
from fdbpl.pipeline.training.trainee import Trainee
from fdbpl.pipeline.values import LossTerms, Prediction, Targets, Views

Losses = tuple[Tensor, dict[str, Tensor]]
"""The loss, and each term's mean."""


class Steps(Protocol):
    """Steps that are summed up on the device, so that nothing waits for it until an epoch ends."""

    def __call__(self, views: Views) -> None:
        """One optimiser step of every student."""

    def means(self) -> list[dict[str, float]]:
        """The mean of each term, and of the loss, over the steps since the last call: of each student."""


def make_steps(trainees: Sequence[Trainee]) -> Steps:
    return OneStudent(trainees[0]) if len(trainees) == 1 else ManyStudents(trainees)


class OneStudent:
    def __init__(self, trainee: Trainee) -> None:
        self._trainee, self._sums = trainee, Sums()

    def __call__(self, views: Views) -> None:
        self._sums.add(step(self._trainee.ingredients, self._trainee.optimizer, views))

    def means(self) -> list[dict[str, float]]:
        return [{name: value.item() for name, value in self._sums.means().items()}]


class ManyStudents:
    """Students of one form; a loss is one program for all whose objectives have the same options."""

    def __init__(self, trainees: Sequence[Trainee]) -> None:
        self._trainees = trainees
        parts = [trainee.ingredients for trainee in trainees]
        self._learners, self._supervision = [part.learner for part in parts], parts[0].supervision
        self._prompts = [prompt for learner in self._learners for prompt in learner.prompts().values()]
        objectives = [part.objective for part in parts]
        # Objectives are frozen dataclasses: those of the same options are equal.
        kinds = [one for number, one in enumerate(objectives) if one not in objectives[:number]]
        self._groups = [([row for row, one in enumerate(objectives) if one == kind], kind) for kind in kinds]
        # Of equal settings, rates are equal as well: all are in the same epoch.
        settings = list(dict.fromkeys(trainee.config.optim for trainee in trainees))
        self._optimizers = [
            JoinedOptimizer([trainee.optimizer for trainee in trainees if trainee.config.optim == one])
            for one in settings
        ]
        self._sums = [Sums() for _ in self._groups]

    def __call__(self, views: Views) -> None:
        targets = self._supervision.targets(views)
        if targets.kept is not None:
            # Under vmap the kernel of kept classes would be the plain functions, which are no quicker.
            targets = replace(targets, teacher_logits_BC=targets.teacher(), kept=None)
        texts = self._learners[0].texts_together(self._learners)
        total = torch.zeros((), device=views.labels_B.device)
        for (rows, objective), sums in zip(self._groups, self._sums, strict=True):
            losses_N, means = self._losses(objective, rows, views, targets, texts)
            total = total + losses_N.sum()
            sums.add({**means, "loss": losses_N.detach()})
        for prompt in self._prompts:
            prompt.grad = None
        total.backward()
        for optimizer in self._optimizers:
            optimizer.step()

    def means(self) -> list[dict[str, float]]:
        found: dict[int, dict[str, float]] = {}
        for (rows, _), sums in zip(self._groups, self._sums, strict=True):
            columns = {name: value_N.tolist() for name, value_N in sums.means().items()}
            found |= {row: {name: column[n] for name, column in columns.items()} for n, row in enumerate(rows)}
        return [found[row] for row in range(len(self._trainees))]

    def _losses(self, objective: Objective, rows: list[int], views: Views, targets: Targets, texts: Any) -> Losses:
        """The losses [N] of the students in these rows, who have one objective."""
        given = [tensors_of(one) for one in (views, targets, texts)]
        mapped = [{name: _taken(value, rows) for name, value in tensors.items()} for tensors in given]

        def loss(*tensors: dict[str, Tensor]) -> Losses:
            own, asked, said = (replace(one, **new) for one, new in zip((views, targets, texts), tensors, strict=True))
            prediction = self._learners[0].predict(own, said)
            return losses(objective, prediction, asked, own.importance_B)

        found: Losses = vmap(loss)(*mapped)
        return found


def _taken(value: Tensor, rows: list[int]) -> Tensor:
    """These rows; of neighbours a slice, which copies nothing. A list as an index would be copied to the device each
    time, and waited for."""
    first, after = rows[0], rows[-1] + 1
    return value[first:after] if after - first == len(rows) else torch.stack([value[row] for row in rows])


def tensors_of(value: Any) -> dict[str, Tensor]:
    """Those fields of a dataclass that are tensors."""
    found = {one.name: getattr(value, one.name) for one in fields(value)}
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


class Sums:
    """Sums of named tensors over steps."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def means(self) -> dict[str, Tensor]:
        """Of what was added since the last call."""
        found = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return found


def step(ingredients: Ingredients, optimizer: torch.optim.Optimizer, views: Views) -> dict[str, Tensor]:
    """One optimiser step of one student on a batch; each term's mean and the loss, left on the device."""
    targets = ingredients.supervision.targets(views)
    prediction = ingredients.learner(views, targets.chosen_K)
    loss, means = losses(ingredients.objective, prediction, targets, views.importance_B)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return {**means, "loss": loss.detach()}


def losses(
    objective: Objective, prediction: Prediction, targets: Targets, importance_B: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss to minimise, and the mean of each term of objective and learner, without gradient."""
    asked = objective(prediction, targets)
    terms = LossTerms(
        values={**asked.values, **prediction.own_terms}, weights={**asked.weights, **prediction.own_weights}
    )
    return terms.total(importance_B), {name: value.detach().mean() for name, value in terms.values.items()}
