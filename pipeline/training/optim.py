"""Optimiser and schedule of prompts. A schedule is a function of the epoch alone."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from fdbpl.pipeline.config import OptimConfig


def learning_rate(config: OptimConfig, epoch: int, num_epochs: int) -> float:
    """The rate of an epoch: constant while warming up, then the cosine that never quite reaches zero.

    The cosine is lr/2 (1 + cos(pi (e - 1)/T)) with e counted from 0 and T the number of all epochs, as the
    field's recipe steps it after one warm-up epoch.
    """
    if epoch < config.warmup_epochs:
        return config.warmup_learning_rate
    progress = (epoch - min(config.warmup_epochs, 1)) / num_epochs
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def make_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Fused: one kernel updates all of a student's prompts."""
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    )


class JoinedOptimizer:
    """Several optimisers of equal settings that step as one kernel; each keeps its own state and sets the rate."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._first = optimizers[0]
        owned = [(one, parameter) for one in optimizers for group in one.param_groups for parameter in group["params"]]
        self._whole = type(self._first)([parameter for _, parameter in owned], **self._first.defaults)
        for one, parameter in owned:
            self._whole.state[parameter] = one.state[parameter]  # the same dict: what a step puts there is the owner's

    def step(self) -> None:
        set_learning_rate(self._whole, self._first.param_groups[0]["lr"])
        self._whole.step()


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
