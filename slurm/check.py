"""What a checking job does: it runs once the jobs of a step have ended, however they ended."""

import os
from pathlib import Path
from typing import Any

from fdbpl.slurm.chain import load_chain
from fdbpl.slurm.errors import StepFailed
from fdbpl.slurm.placing import place


def run(folder: Path, task_id: str) -> dict[str, Any]:
    """Decide about a step: close it, or have what is missing submitted again.

    Args:
        folder: the run folder, with the chain in it.
        task_id: STEP@NUMBER.

    Raises:
        StepFailed: tasks are given up, and what comes after the step needs them.
    """
    name = task_id.rpartition("@")[0]
    chain = load_chain(folder)
    assert chain is not None, f"{folder} has no chain"
    placed = place(chain, check_of=name, own_job=os.environ.get("SLURM_JOB_ID", ""))[name]
    if placed.has_failed and (chain.step(name).needs_all or not placed.given_up):
        causes = [f"{task} ({why})" for task, why in placed.given_up.items()]
        shown = ", ".join(causes[:5]) + (f" and {len(causes) - 5} more" if len(causes) > 5 else "")
        raise StepFailed(f"{len(causes)} of {placed.todo.total} tasks of {name} are given up: {shown or 'blocked'}")
    return {
        "missing": len(placed.todo.missing),
        "submitted": len(placed.submitted),
        "given_up": placed.given_up,
        "result": placed.result,
    }
