"""A run from Python, as in a notebook: the same steps that the commands run, with their results as values.

Tasks run in processes of their own (the local pool, or Slurm): nothing depends on how the calling program was started.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.library.store_views import StoreViews
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.report.run_report import write_run_report
from fdbpl.pipeline.run.submit import Submission
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.saved_learner import load_learner


class Run:
    """A run of a config file.

    Args:
        config: the TOML file.
        overrides: changes as on the command line, "crops.seeds=8".
        quiet: show no progress.

    Raises:
        ValueError: what `fdbpl plan` refuses of the file and its students.
    """

    def __init__(self, config: str | Path, overrides: Sequence[str] = (), *, quiet: bool = False) -> None:
        self._path = Path(config)
        self.config: RunConfig = read_config(self._path, tuple(overrides))
        self.students: tuple[str, ...] = tuple(plan.id for plan in student_plans(self.config))
        self._workflow = Workflow(self.config, Ui(quiet=quiet), command=f"fdbpl submit {config}")

    @property
    def folder(self) -> Path:
        """Where everything of the run is kept."""
        return self.config.folder

    def plan(self) -> dict[str, Any]:
        """What would be done and cost, as `fdbpl plan --json` tells it. Starts nothing.

        Raises:
            ValueError, CacheError: data, students, models or a store that do not fit the config.
        """
        return Submission(self.config, self._path).plan([], measure=False)

    # Each step does what is missing, and waits for its end. They raise StageFailed where tasks did not complete, and
    # ValueError or CacheError for what every task would refuse.

    def teach(self, *, grow: bool = False) -> dict[str, Any]:
        """Run the teacher over every crop; with `grow`, add what an existing store lacks."""
        return self._workflow.teach(grow=grow)

    def features(self) -> dict[str, Any]:
        """Compute the students' own features of the same crops."""
        return self._workflow.features()

    def train(self) -> dict[str, Any]:
        """Train every student that is not finished."""
        return self._workflow.train()

    def evaluate(self) -> dict[str, Any]:
        """The accuracies of every student: what results.json holds, and where the reports are."""
        return self._workflow.evaluate()

    def whole(self) -> dict[str, Any]:
        """All steps in turn; the results."""
        with self._workflow:  # the pool's processes are kept from one step to the next
            self.teach()
            self.features()
            self.train()
            return self.evaluate()

    def report(self, out: Path | None = None) -> Path:
        """Write the page of the run as it is now; its path."""
        return Path(write_run_report(self.config, command=f"fdbpl status {self._path}", out=out)["report"])

    def prompts(self, student: str) -> Path:
        """The file of a student's prompts. Raises ValueError where there is no such student, or it is not trained."""
        path = RunFolder(self.folder).student(student).prompts_file
        if student not in self.students or not path.exists():
            raise ValueError(f"found no prompts of the student {student!r}, expected a trained one of {self.students}")
        return path

    def learner(self, student: str, device: str = "cpu") -> Learner:
        """A trained student, ready to be asked about any class names. Raises ValueError as `prompts`."""
        return load_learner(self.prompts(student), device)[0]

    def views(self, *, pixels: bool = False, **options: Any) -> StoreViews:
        """The run's store as a data set; with `pixels`, and the crops themselves. Options and errors: StoreViews'."""
        return StoreViews(self.config.store.path, folder=image_root(self.config) if pixels else None, **options)
