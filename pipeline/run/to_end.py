"""Running a chain in the foreground until nothing of it is left, with a bar for each step."""

from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.bars import StepBars
from fdbpl.pipeline.run.errors import StageFailed
from fdbpl.slurm.backend import Backend
from fdbpl.slurm.chain import Chain


def run_to_end(chain: Chain, backend: Backend, ui: Ui, *, command: str) -> None:
    """Run what is missing of a chain, and wait for its end.

    Args:
        command: what a person types to go on after a failure.

    Raises:
        StageFailed: tasks did not complete.
    """
    with StepBars(ui, chain) as draw:
        status = backend.run(chain, on_update=draw)
    bad = next((step for step in status.steps if step.standing != "complete"), None)
    if bad is not None:
        raise StageFailed(bad, command)
