"""One student while it trains: what it is made of, how far it has come, and the file from which it goes on."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fdbpl.pipeline.config import StudentConfig
from fdbpl.pipeline.training.checkpoint import load_into, load_state, save_state
from fdbpl.pipeline.training.ingredients import Ingredients
from fdbpl.pipeline.training.metrics import Metrics
from fdbpl.pipeline.training.optim import learning_rate, make_optimizer, set_learning_rate
from fdbpl.pipeline.training.sampling import steps_per_epoch

OnProgress = Callable[[int, int], None]


@dataclass(kw_only=True)
class TrainingLog:
    """What a training did: mean terms of each epoch, steps, and seconds of all attempts together; of students that
    train as one, each one's part of these."""

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


@dataclass(kw_only=True, eq=False)
class Trainee:
    """A student's parts, with what training adds to them.

    Attributes:
        state_file: where the state of the last whole epoch is kept; None keeps none.
        identity: what the state belongs to; one of another identity is not used.
        metrics: what it tells of each epoch; None tells nobody.
        failure: why it cannot go on; "" while it can.
    """

    ingredients: Ingredients
    config: StudentConfig
    state_file: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    metrics: Metrics | None = None
    log: TrainingLog = field(init=False, default_factory=TrainingLog)
    average: Average = field(init=False, default_factory=Average)
    optimizer: torch.optim.Optimizer = field(init=False)
    failure: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.optimizer = make_optimizer(self.config.optim, self.ingredients.learner.prompts().values())

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.ingredients.training), self.config.batch_size)

    def resume(self) -> None:
        """Go on where a stopped training left its state."""
        state = load_state(self.state_file, self.identity) if self.state_file else None
        if state is not None:
            self._restore(state)
        if self.metrics is not None:
            self.metrics.begin(self.log.epochs)

    def _restore(self, state: dict[str, Any]) -> None:
        load_into(self.ingredients.learner, state["prompts"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.log = TrainingLog(**json.loads(state["log"]))
        device = self.ingredients.learner.backbone.device
        total = {name: value.to(device) for name, value in state["average"].items()}
        self.average = Average(total=total, weight=state["average_weight"])

    def begin_epoch(self) -> None:
        set_learning_rate(self.optimizer, learning_rate(self.config.optim, len(self.log.epochs), self.config.epochs))

    def end_epoch(self, means: dict[str, float], *, steps: int, seconds: float) -> None:
        """Write down an epoch, or that its loss is not finite."""
        if not self.failure and not math.isfinite(means["loss"]):
            self.failure = f"found a loss of {means['loss']} in epoch {len(self.log.epochs)}, {self._advice()}"
        learner = self.ingredients.learner
        self.average.add(learner.state_dict(), learner.epoch_weight(len(self.log.epochs), self.config.epochs))
        if self.metrics is not None:
            self.metrics.epoch(len(self.log.epochs), means)
        self.log.epochs.append(means)
        self.log.steps += steps
        self.log.seconds += seconds

    def save(self) -> None:
        if self.state_file is None or self.failure:
            return
        save_state(
            self.state_file,
            {
                "identity": json.dumps(self.identity, sort_keys=True),
                "prompts": self.ingredients.learner.state_dict(),
                "average": self.average.total,
                "average_weight": self.average.weight,
                "optimizer": self.optimizer.state_dict(),
                "log": json.dumps(vars(self.log)),
            },
        )

    def end(self) -> None:
        """Take the mean over epochs where the learner ends with that. The last step, after which no loss is computed,
        may have been the one too far."""
        learner = self.ingredients.learner
        if self.average.weight:
            load_into(learner, self.average.values())
        broken = [name for name, value in learner.prompts().items() if not value.isfinite().all()]
        if broken and not self.failure:
            self.failure = f"found values that are not finite in {', '.join(broken)}, {self._advice()}"

    def _advice(self) -> str:
        return f"expected finite ones: lower optim.learning_rate (now {self.config.optim.learning_rate})"
