"""Training one student: views in, prompts out.

The loop knows neither the learner, nor the objective, nor where targets come from. Everything random follows
from (seed, epoch), so a student that was stopped goes on from its last whole epoch as if nothing had happened.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fdbpl.pipeline.batches import made_ahead
from fdbpl.pipeline.checkpoint import load_into, load_state, save_state
from fdbpl.pipeline.config import StudentConfig
from fdbpl.pipeline.data import TrainingSet
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.objectives.base import Objective
from fdbpl.pipeline.optim import learning_rate, make_optimizer, set_learning_rate
from fdbpl.pipeline.sampling import epoch_seed, epoch_views, steps_per_epoch
from fdbpl.pipeline.supervision import Supervision
from fdbpl.pipeline.values import Views
from fdbpl.pipeline.views import ViewSource

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
    num_seeds: int


@dataclass(kw_only=True)
class TrainingLog:
    """What a training did: mean terms of each epoch, steps, and seconds of all attempts together."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0


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
    state = load_state(state_file, identity or {}) if state_file else None
    if state is not None:
        load_into(learner, state["prompts"])
        optimizer.load_state_dict(state["optimizer"])
        log = TrainingLog(**json.loads(state["log"]))
    per_epoch = steps_per_epoch(len(ingredients.training), config.batch_size)
    saved_at = time.monotonic()
    _prefetch(ingredients, len(log.epochs), config.epochs)
    for epoch in range(len(log.epochs), config.epochs):
        started = time.monotonic()
        _prefetch(ingredients, epoch + 1, config.epochs)
        rate = learning_rate(config.optim, epoch, config.epochs)
        set_learning_rate(optimizer, rate)
        log.epochs.append(_epoch(ingredients, optimizer, config, epoch=epoch, seed=seed))
        log.steps += per_epoch
        log.seconds += time.monotonic() - started
        if on_progress is not None:
            on_progress(log.steps, per_epoch * config.epochs)
        if state_file and time.monotonic() - saved_at > SECONDS_BETWEEN_STATES:
            saved_at = time.monotonic()
            save_state(
                state_file,
                {
                    "identity": json.dumps(identity or {}, sort_keys=True),
                    "prompts": {name: value.detach() for name, value in learner.prompts().items()},
                    "optimizer": optimizer.state_dict(),
                    "log": json.dumps(vars(log)),
                },
            )
    return log


def _prefetch(ingredients: Ingredients, epoch: int, num_epochs: int) -> None:
    """Let sources begin to read for an epoch, while the one before it runs."""
    if epoch < num_epochs:
        seed = epoch_seed(epoch, ingredients.num_seeds)
        ingredients.source.prefetch(ingredients.training.image_ids_M, seed)
        ingredients.supervision.prefetch(ingredients.training.image_ids_M, seed)


def _epoch(
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
    batches = epoch_views(
        num_images=len(training),
        num_seeds=ingredients.num_seeds,
        epoch=epoch,
        seed=seed,
        batch_size=config.batch_size,
    )
    source = ingredients.source

    def bring(batch: tuple[np.ndarray, np.ndarray]) -> Views:
        positions_B, seeds_B = batch
        return source.bring(training.image_ids_M[positions_B], seeds_B, training.labels_M[positions_B])

    count = 0
    for views in made_ahead(batches, bring, source.ahead) if source.ahead else map(bring, batches):
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
    terms = ingredients.objective(ingredients.learner(views), targets)
    loss = terms.total()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    means = {name: value.detach().mean() for name, value in terms.values.items()}
    return {**means, "loss": loss.detach()}
