"""Training one student: views in, prompts out.

The loop knows neither the learner, nor the objective, nor where targets come from. Everything random follows
from (seed, epoch), so a student that was stopped goes on from its last whole epoch as if nothing had happened.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fdbpl.pipeline.config import StudentConfig
from fdbpl.pipeline.data.load import TrainingSet
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.loading.batches import made_ahead
from fdbpl.pipeline.loading.transfer import to_device
from fdbpl.pipeline.objectives.base import Objective
from fdbpl.pipeline.training.checkpoint import load_into, load_state, save_state
from fdbpl.pipeline.training.optim import learning_rate, make_optimizer, set_learning_rate
from fdbpl.pipeline.training.sampling import Sampler, batches, steps_per_epoch
from fdbpl.pipeline.training.supervision import Supervision
from fdbpl.pipeline.training.views import ViewSource
from fdbpl.pipeline.values import LossTerms, Views

# A state is written at the end of an epoch, but not more often than this: short epochs cost no file each.
SECONDS_BETWEEN_STATES = 20.0


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """All that a training loop is made of."""

    learner: Learner
    objective: Objective
    supervision: Supervision
    source: ViewSource
    training: TrainingSet
    sampler: Sampler


@dataclass(kw_only=True)
class TrainingLog:
    """What a training did: mean terms of each epoch, steps, and seconds of all attempts together."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0


@dataclass(kw_only=True)
class Average:
    """A weighted mean of a learner's values over epochs (PromptSRC, arXiv 2307.06948), in float64."""

    total: dict[str, torch.Tensor] = field(default_factory=dict)
    weight: float = 0.0

    def add(self, values: dict[str, torch.Tensor], weight: float | None) -> None:
        """Count values by a weight; nothing where it is None."""
        if weight is None:
            return
        for name, value in values.items():
            counted = weight * value.detach().to(torch.float64)
            self.total[name] = self.total[name] + counted if name in self.total else counted
        self.weight += weight

    def values(self) -> dict[str, torch.Tensor]:
        return {name: value / self.weight for name, value in self.total.items()}


def train(
    ingredients: Ingredients,
    config: StudentConfig,
    *,
    seed: int,
    state_file: Path | None = None,
    identity: dict[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainingLog:
    """Optimise the learner's prompts in place.

    Args:
        state_file: where the state of the last whole epoch is kept; None keeps none.
        identity: what the state belongs to; one of another identity is not used.
        on_progress: called with steps done and steps in all.

    Raises:
        FloatingPointError: a loss that is not finite, with the step and the learning rate.
    """
    learner = ingredients.learner
    optimizer = make_optimizer(config.optim, learner.prompts().values())
    log = TrainingLog()
    average = Average()
    state = load_state(state_file, identity or {}) if state_file else None
    if state is not None:
        load_into(learner, state["prompts"])
        optimizer.load_state_dict(state["optimizer"])
        log = TrainingLog(**json.loads(state["log"]))
        average = Average(total=state["average"], weight=state["average_weight"])
    per_epoch = steps_per_epoch(len(ingredients.training), config.batch_size)
    saved_at = time.monotonic()
    _prefetch(ingredients, len(log.epochs), config.epochs)
    for epoch in range(len(log.epochs), config.epochs):
        started = time.monotonic()
        _prefetch(ingredients, epoch + 1, config.epochs)
        rate = learning_rate(config.optim, epoch, config.epochs)
        set_learning_rate(optimizer, rate)
        log.epochs.append(train_epoch(ingredients, optimizer, config, epoch=epoch, seed=seed))
        log.steps += per_epoch
        log.seconds += time.monotonic() - started
        average.add(learner.state_dict(), learner.epoch_weight(epoch, config.epochs))
        if on_progress is not None:
            on_progress(log.steps, per_epoch * config.epochs)
        if state_file and time.monotonic() - saved_at > SECONDS_BETWEEN_STATES:
            saved_at = time.monotonic()
            save_state(
                state_file,
                {
                    "identity": json.dumps(identity or {}, sort_keys=True),
                    "prompts": learner.state_dict(),
                    "average": average.total,
                    "average_weight": average.weight,
                    "optimizer": optimizer.state_dict(),
                    "log": json.dumps(vars(log)),
                },
            )
    if average.weight:
        load_into(learner, average.values())
    return log


def _prefetch(ingredients: Ingredients, epoch: int, num_epochs: int) -> None:
    """Let sources begin to read for an epoch, while the one before it runs."""
    if epoch < num_epochs:
        seeds_M = ingredients.sampler.epoch(epoch).seeds_M
        ingredients.source.prefetch(ingredients.training.image_ids_M, seeds_M)
        ingredients.supervision.prefetch(ingredients.training.image_ids_M, seeds_M)


def train_epoch(
    ingredients: Ingredients,
    optimizer: torch.optim.Optimizer,
    config: StudentConfig,
    *,
    epoch: int,
    seed: int,
) -> dict[str, float]:
    """One pass over the training images; the mean of each term, and of the loss."""
    training = ingredients.training
    sums: dict[str, torch.Tensor] = {}
    chosen = ingredients.sampler.epoch(epoch)
    source = ingredients.source
    device = ingredients.learner.backbone.device

    def bring(positions_B: np.ndarray) -> Views:
        views = source.bring(
            training.image_ids_M[positions_B], chosen.seeds_M[positions_B], training.labels_M[positions_B]
        )
        if chosen.importance_M is None:
            return views
        importance_B = to_device(torch.from_numpy(chosen.importance_M[positions_B]), device)
        return replace(views, importance_B=importance_B)

    order = batches(len(training), epoch=epoch, seed=seed, batch_size=config.batch_size)
    ingredients.learner.train()
    count = 0
    for views in made_ahead(order, bring, source.ahead) if source.ahead else map(bring, order):
        losses = step(ingredients, optimizer, source.complete(views))
        for name, value in losses.items():
            sums[name] = sums[name] + value if name in sums else value
        count += 1
    means = {name: float(value) / count for name, value in sums.items()}
    # One check an epoch: a check a step would make the host wait for the device each time.
    if not np.isfinite(means["loss"]):
        raise FloatingPointError(
            f"found a loss of {means['loss']} in epoch {epoch}, expected a finite one: lower "
            f"optim.learning_rate (now {config.optim.learning_rate})"
        )
    return means


def step(ingredients: Ingredients, optimizer: torch.optim.Optimizer, views: Views) -> dict[str, torch.Tensor]:
    """One optimiser step on a batch; each term's mean and the loss, left on the device."""
    targets = ingredients.supervision.targets(views)
    prediction = ingredients.learner(views, targets.chosen_K)
    asked = ingredients.objective(prediction, targets)
    terms = LossTerms(
        values={**asked.values, **prediction.own_terms}, weights={**asked.weights, **prediction.own_weights}
    )
    loss = terms.total(views.importance_B)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    means = {name: value.detach().mean() for name, value in terms.values.items()}
    return {**means, "loss": loss.detach()}
