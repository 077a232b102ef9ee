"""The one interface to running tasks, and the choice of what stands behind it."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from fdbpl.slurm.controller import availability
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.local_pool import LocalPool, OnUpdate
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus

Kind = Literal["auto", "local", "slurm"]


class Backend(Protocol):
    """Runs the tasks of a stage somewhere; the records are the same wherever.

    Attributes:
        name: "local" or "slurm".
        reason: why this one was chosen, for people.
    """

    name: str
    reason: str

    def run(self, stage: Stage, *, on_update: OnUpdate | None = None, poll_seconds: float | None = None) -> StageStatus:
        """Run the stage's tasks and wait until each is complete, failed or stopped.

        Args:
            stage: the tasks; each runs, however often it ran before. Leave out what is done already.
            on_update: called with the status now and then, and in the end.
            poll_seconds: time between two looks; None: as fits the backend.

        Returns:
            The status in the end. A task's failure is in its record, and raises nothing.
        """
        ...


def make_backend(kind: Kind, *, max_workers: int | None = None, parameters: Mapping[str, Any] | None = None) -> Backend:
    """The backend of that kind; "auto" is Slurm where jobs can be submitted from here, else the local pool.

    Args:
        kind: "auto", "local" or "slurm".
        max_workers: of the local pool.
        parameters: of Slurm, see SlurmArray.

    Raises:
        SlurmError: "slurm" was asked for and no controller answers.
        ValueError: the kind is another.
    """
    if kind not in ("auto", "local", "slurm"):
        raise ValueError(f"backend: found {kind!r}, expected 'auto', 'local' or 'slurm'")
    if kind == "local":
        return LocalPool(max_workers, reason="asked for")
    is_there, reason = availability()
    if is_there:
        return _slurm_array(parameters, "asked for" if kind == "slurm" else f"Slurm answers: {reason}")
    if kind == "slurm":
        raise SlurmError(f"Slurm cannot be used from here: {reason}; use the local backend, or a login node")
    return LocalPool(max_workers, reason=f"no Slurm here: {reason}")


def _slurm_array(parameters: Mapping[str, Any] | None, reason: str) -> Backend:
    # submitit is imported only where it is used.
    from fdbpl.slurm.slurm_array import SlurmArray

    return SlurmArray(parameters, reason=reason)
