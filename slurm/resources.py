"""What one task asks for, the same for the local pool and for Slurm."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resources of each task of a stage.

    Attributes:
        cpus: cores of a task; its thread pools are told so by OMP_NUM_THREADS.
        memory_gb: memory of a task in gigabytes (asked of Slurm; the local pool does not enforce it).
        gpus: GPUs that a task has for itself; local tasks with 0 see those that the caller sees.
        minutes: time limit of a task; in Slurm rounded up to whole minutes.
        max_parallel: most tasks of the stage that may run at a time, or None for no limit.

    Raises:
        ValueError: a figure is out of range.
    """

    cpus: int = 1
    memory_gb: float = 4
    gpus: int = 0
    minutes: float = 60
    max_parallel: int | None = None

    def __post_init__(self) -> None:
        least = {"cpus": 1, "gpus": 0, "max_parallel": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is None and name == "max_parallel":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
                raise ValueError(f"Resources.{name}: found {value!r}, expected a whole number from {minimum}")
        for name in ("memory_gb", "minutes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Resources.{name}: found {getattr(self, name)!r}, expected more than 0")

    @property
    def whole_minutes(self) -> int:
        """The time limit as Slurm takes it: rounded up."""
        return math.ceil(self.minutes)
