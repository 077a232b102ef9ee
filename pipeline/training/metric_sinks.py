"""Sinks of other libraries: TensorBoard's event files, and Weights & Biases. Imported where a run names them."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.training.metrics import Means, Sink


class TensorBoard:
    """Event files under `tensorboard/STUDENT` in the run's folder: `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, config: RunConfig, student: str) -> None:
        self._folder = RunFolder(config.folder).root / "tensorboard" / student
        self._writer: Any = None

    def begin(self, epochs: Sequence[Means]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier training told of later epochs is not shown.
        self._writer = SummaryWriter(str(self._folder), purge_step=len(epochs))

    def epoch(self, number: int, means: Means) -> None:
        for name, value in means.items():
            self._writer.add_scalar(name, value, number)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases for each student, under `wandb` in the run's folder; offline unless WANDB_MODE says
    otherwise, for a cluster's nodes rarely have a network: `wandb sync RUN/wandb/offline-*` sends it."""

    def __init__(self, config: RunConfig, student: str) -> None:
        self._config, self._student = config, student
        self._run: Any = None
        self._done = 0

    def begin(self, epochs: Sequence[Means]) -> None:
        import wandb

        folder = RunFolder(self._config.folder).root
        # One run, however often the student is stopped.
        identity = hashlib.sha256(f"{folder}/{self._student}".encode()).hexdigest()[:16]
        self._run = wandb.init(
            project=self._config.metrics.project,
            name=self._student,
            id=identity,
            resume="allow",
            reinit="create_new",  # students of a pack are told of at the same time
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            config={"student": self._student, "data": self._config.data.name},
            settings=wandb.Settings(silent=True, console="off"),
        )

    def epoch(self, number: int, means: Means) -> None:
        self._run.log(dict(means), step=number)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


SINKS: Mapping[str, Callable[[RunConfig, str], Sink]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
