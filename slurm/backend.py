"""The one interface to running a chain, and the choice of what stands behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import ChainStatus
from fdbpl.slurm.controller import availability
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.local_chain import run_here
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.status import StageStatus

Kind = Literal["auto", "local", "slurm"]
OnUpdate = Callable[[StageStatus], None]


class Backend(Protocol):
    """Runs the tasks of a chain somewhere; records and journals are the same wherever."""

    @property
    def name(self) -> str:
        """ "local" or "slurm"."""
        ...

    @property
    def reason(self) -> str:
        """Why this one was chosen, for people."""
        ...

    def run(self, chain: Chain, *, on_update: OnUpdate | None = None) -> ChainStatus:
        """Run what is missing of a chain and wait until nothing of it runs or waits any more.

        Args:
            chain: the steps.
            on_update: called with the tasks of a step, now and then.

        Returns:
            How the chain stands in the end. A task's failure is in its record, and raises nothing.

        Raises:
            SlurmError: Slurm refused the tasks, or was silent for too long; the jobs go on.
            KeyboardInterrupt: passed on; Slurm's jobs go on, the local pool's tasks have ended.
            ValueError: other work is going on in the run folder.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LocalBackend:
    """This machine."""

    pool: LocalPool
    reason: str
    name: str = "local"

    def run(self, chain: Chain, *, on_update: OnUpdate | None = None) -> ChainStatus:
        return run_here(chain, self.pool, on_update=on_update)


@dataclass(frozen=True, kw_only=True)
class SlurmBackend:
    """A Slurm cluster. The jobs belong to Slurm: whoever waits for them here may go away."""

    reason: str
    name: str = "slurm"

    def run(self, chain: Chain, *, on_update: OnUpdate | None = None) -> ChainStatus:
        # submitit is imported only where it is used.
        from fdbpl.slurm.start import start, watch

        start(chain)
        return watch(chain, on_update=on_update)


def make_backend(kind: Kind, *, max_workers: int | None = None) -> Backend:
    """The backend of that kind; "auto" is Slurm where jobs can be submitted from here, else the local pool.

    Args:
        kind: "auto", "local" or "slurm".
        max_workers: of the local pool.

    Raises:
        SlurmError: "slurm" was asked for and no controller answers.
        ValueError: the kind is another.
    """
    if kind not in ("auto", "local", "slurm"):
        raise ValueError(f"backend: found {kind!r}, expected 'auto', 'local' or 'slurm'")
    if kind == "local":
        return LocalBackend(pool=LocalPool(max_workers), reason="asked for")
    is_there, reason = availability()
    if is_there:
        return SlurmBackend(reason="asked for" if kind == "slurm" else f"Slurm answers: {reason}")
    if kind == "slurm":
        raise SlurmError(f"Slurm cannot be used from here: {reason}; use the local backend, or a login node")
    return LocalBackend(pool=LocalPool(max_workers), reason=f"no Slurm here: {reason}")
