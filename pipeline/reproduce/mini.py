"""`fdbpl reproduce mini`: the paper's comparison on the generated world, with tiny CLIPs, from nothing to a page.

Everything lies in one folder; what is there is not made again, whatever ended the last call.
"""

import os
import time
from pathlib import Path
from typing import Any

from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.reproduce.chain import reproduction_chain
from fdbpl.pipeline.reproduce.estimate import plan_reproduction
from fdbpl.pipeline.reproduce.form import Form
from fdbpl.pipeline.reproduce.results import read_results
from fdbpl.pipeline.reproduce.runs import Layout
from fdbpl.pipeline.run.provenance import note_submission, provenance
from fdbpl.pipeline.run.submit import start_chain
from fdbpl.pipeline.run.to_end import run_to_end
from fdbpl.slurm.backend import choose_kind, make_backend
from fdbpl.slurm.chain import Chain
from fdbpl.slurm.profile import read_profile


class Reproduction:
    """A form in a folder, and where it runs.

    Args:
        cluster: auto, local or slurm.
        workers: tasks at a time; None: a core each here, no limit on Slurm.
        profile: a site profile, or "".
        command: what a person types to go on after a failure.
    """

    def __init__(
        self, form: Form, folder: Path, *, cluster: str, workers: int | None, profile: str, command: str
    ) -> None:
        self.form, self.folder, self.command = form, folder.absolute(), command
        self.kind, self.reason = choose_kind(cluster)
        cores = len(os.sched_getaffinity(0))
        self.workers = workers or (cores if self.kind == "local" else None)
        site = read_profile(profile, beside=Path.cwd())
        self.chain: Chain = reproduction_chain(form, self.folder, workers=self.workers, profile=site)

    def plan(self) -> dict[str, Any]:
        """What is missing, and how long it would take; starts nothing."""
        num_tasks = max(self.chain.todo(step).total for step in self.chain.steps)
        planned = plan_reproduction(self.form, self.folder, self.chain, self.workers or num_tasks)
        return {**planned, "backend": self.kind, "reason": self.reason}

    def submit(self) -> dict[str, Any]:
        """Start all of it and return: it goes on by itself, here or on Slurm."""
        return start_chain(self.chain, kind=self.kind, command=self.command)

    def run(self, ui: Ui) -> dict[str, Any]:
        """Do what is missing, wait for it, and tell the results, as JSON.

        Raises:
            StageFailed: tasks did not complete.
        """
        started = time.monotonic()
        todos = {step.name: self.chain.todo(step) for step in self.chain.steps}
        if not all(todo.is_finished for todo in todos.values()):
            self._announce(ui)
            note_submission(self.chain, command=self.command, backend=self.kind)
            run_to_end(self.chain, make_backend(self.kind, max_workers=self.workers), ui, command=self.command)
        layout = Layout(self.folder)
        return {
            **read_results(self.folder),
            "folder": str(self.folder),
            "report": str(layout.report_file),
            "computed": {name: len(todo.missing) for name, todo in todos.items()},
            "task_seconds": {name: facts["task_seconds"] for name, facts in provenance(self.folder)["steps"].items()},
            "seconds": round(time.monotonic() - started, 1),
        }

    def _announce(self, ui: Ui) -> None:
        planned = self.plan()
        ui.say(
            f"{self.form.name} form ({self.form.about}): {len(planned['runs'])} runs, "
            f"{planned['trainings']} trainings; "
            f"about {planned['seconds'] / 60:.0f} min left on {self.kind} ({self.reason})"
        )
