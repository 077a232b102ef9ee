"""The steps of the main job as a person runs them one by one, each complete by itself and each doing only what is not
done yet.

teach -> features -> train -> evaluate. What would be refused by every task is refused here first, before any starts.
The work itself is a chain of steps that a backend (local pool or Slurm arrays) runs, and this waits for its end.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, Self

from rich.markup import escape

from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import excluded_line, run_data
from fdbpl.pipeline.data.kept_list import with_kept_list
from fdbpl.pipeline.data.load import training_set
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.labels.features import begin_features
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.labels.teach import check_fits, prepare_store
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.results import read_results
from fdbpl.pipeline.run.steps import chain_of, evaluation_steps, train_steps
from fdbpl.pipeline.run.to_end import run_to_end
from fdbpl.pipeline.run.todo import SEPARATOR
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.dry_build import check_learners
from fdbpl.pipeline.training.metrics import check_sinks
from fdbpl.pipeline.training.student_record import finished_records
from fdbpl.pipeline.training.student_store import check_serves, open_run_store
from fdbpl.slurm.backend import Backend, make_backend
from fdbpl.slurm.chain import Todo
from fdbpl.slurm.records import read_record


class Workflow:
    """The steps on one config; `command` is what a person types to go on after a failure.

    Within `with`, the local pool's workers are kept from one step to the next.
    """

    def __init__(self, config: RunConfig, ui: Ui, *, command: str) -> None:
        self.config, self.ui, self.command = with_kept_list(config), ui, command
        self.folder = RunFolder(config.folder)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.backend.kept())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def data(self) -> DataSet:
        """As far as the store goes now."""
        return run_data(self.config)

    @cached_property
    def backend(self) -> Backend:
        return make_backend(self.config.cluster.kind, max_workers=self.config.cluster.max_workers)

    def teach(self, *, grow: bool = False) -> dict[str, Any]:
        """Write what is missing of the teacher's store, and seal it; with `grow`, add what the config asks for more."""
        with self.ui.bar("scan images", "images") as on_progress:
            store = prepare_store(self.config, on_progress, grow=grow, say=self._say)
        self._say(excluded_line(store, self.data))
        computed = self._run(["teach"])
        grid = store.campaign(CAMPAIGN).grid
        return {
            "store": str(store.path),
            "views": grid.num_images * grid.num_seeds,
            "views_computed": _sum_of(computed["teach"], "views"),
            "fingerprint": store.manifest.fingerprint,
            "images_excluded": len(store.excluded),
        }

    def features(self) -> dict[str, Any]:
        """Write what is missing of the students' stored features, and seal them."""
        wanted = feature_campaigns(self.config)
        if not wanted:
            return {"views_computed": {}}
        with open_reader(self.config.store.path, campaigns=(CAMPAIGN,)):
            pass  # the windows must be there before anything is cut by them
        check_fits(open_store(self.config.store.path), self.config, self.data)
        begin_features(self.config)
        computed = self._run(["features"])["features"]
        views = {name: _sum_of(computed, "views", prefix=f"{name}{SEPARATOR}") for name in wanted}
        return {"views_computed": views}

    def train(self) -> dict[str, Any]:
        """Train every student that is not finished, stage by stage."""
        plans = student_plans(self.config)
        data = self.data
        self._check_students(plans, data)
        if len(data.excluded):
            num_images = len(data.train) + len(data.excluded)
            self._say(
                f"train: {len(data.excluded)} of {num_images} training images are excluded; students draw from the rest"
            )
        results = [result for tasks in self._run(train_steps(self.config)).values() for result in tasks.values()]
        trained = [student for result in results for student in result.get("students", ())]
        records = finished_records(self.config, plans, data)
        stale = [name for name, record in records.items() if record is None]
        if stale:
            raise ValueError(
                f"found {', '.join(stale)} trained under another config, expected this one: the tasks were submitted "
                f"before it changed. Run again: {self.command}"
            )
        finished = [record for record in records.values() if record is not None]
        return {
            "students": list(records),
            "trained": trained,
            "views": sum(record["views"] for record in finished),
            "train_seconds": {record["student"]: record["train_seconds"] for record in finished},
        }

    def evaluate(self) -> dict[str, Any]:
        """Accuracies of hand-written prompts and of all finished students; writes results.json and the reports."""
        self._run(["test-features", *evaluation_steps(self.config)])
        results = read_results(self.config)
        paths = {"results": self.folder.results_file, "report": self.folder.report_file, "page": self.folder.page_file}
        return results | {name: str(path) for name, path in paths.items()}

    def _check_students(self, plans: Sequence[StudentPlan], data: DataSet) -> None:
        """Refuse before any task is started what each of them would refuse; the store is opened once for all."""
        check_sinks(self.config)
        for plan in plans:
            training_set(data, plan)
        finished = finished_records(self.config, plans, data)
        check_learners(self.config, data, (plan for plan in plans if finished[plan.id] is None))
        served = [plan for plan in plans if plan.needs_store]
        if not served:
            return
        with open_run_store(self.config) as reader:
            for plan in served:
                check_serves(reader, self.config, plan, data)

    def _run(self, names: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """Run steps to the end, with a bar each.

        Returns:
            Step -> task -> result, of the tasks that ran.

        Raises:
            StageFailed: tasks did not complete.
        """
        self.folder.save(self.config)
        chain = chain_of(self.config, names)
        todos = {step.name: chain.todo(step) for step in chain.steps}
        for name, todo in todos.items():
            self._announce(name, todo)
        if all(todo.is_finished for todo in todos.values()):
            return {name: {} for name in names}
        run_to_end(chain, self.backend, self.ui, command=self.command)
        paths = {name: chain.paths(name) for name in names}
        return {
            name: {task: read_record(paths[name], task).result or {} for task in todos[name].missing} for name in names
        }

    def _say(self, line: str) -> None:
        """Say a line as it is, if it holds anything."""
        if line:
            self.ui.say(escape(line))

    def _announce(self, name: str, todo: Todo) -> None:
        done = todo.total - len(todo.missing)
        if done:
            self.ui.say(f"{name}: {done} of {todo.total} are there, nothing to compute for them")
        if todo.missing:
            self.ui.say(f"{name}: {len(todo.missing)} tasks on {self.backend.name} ({self.backend.reason})")


def _sum_of(results: dict[str, dict[str, Any]], key: str, *, prefix: str = "") -> int:
    return sum(int(result.get(key, 0)) for task, result in results.items() if task.startswith(prefix))
