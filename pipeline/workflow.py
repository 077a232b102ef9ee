"""The steps of the main job, each complete by itself and each doing only what is not done yet.

teach -> features -> train -> evaluate. A step cuts its missing work into tasks, hands them to a backend (local
pool or Slurm array), and says what it did.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline import tasks
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data import load_data, training_set
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.errors import StageFailed
from fdbpl.pipeline.evaluate import evaluate
from fdbpl.pipeline.evaluation_features import missing_features
from fdbpl.pipeline.features import feature_campaigns, prepare_features
from fdbpl.pipeline.labels_manifest import CAMPAIGN
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.report import write_report
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.student_run import check_serves, finished_record, open_run_store, student_identity
from fdbpl.pipeline.students import StudentPlan, student_plans
from fdbpl.pipeline.supervision import stored_labels
from fdbpl.pipeline.teach import check_fits, prepare_store
from fdbpl.pipeline.whole_file import replace_json
from fdbpl.slurm.backend import make_backend
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus


class Workflow:
    """The steps on one config; `command` is what a person types to go on after a failure."""

    def __init__(self, config: RunConfig, ui: Ui, *, command: str) -> None:
        self.config, self.ui, self.command = config, ui, command
        self.folder = RunFolder(config.folder)

    @cached_property
    def data(self) -> DataSet:
        return load_data(self.config.data)

    def teach(self, *, grow: bool = False) -> dict[str, Any]:
        """Write what is missing of the teacher's store, and seal it; with `grow`, add what the config asks for more."""
        with self.ui.bar("scan images", "images") as on_progress:
            store = prepare_store(self.config, on_progress, grow=grow)
        views = self._write_campaign(store, CAMPAIGN, "teach", "tasks:teach", "")
        grid = store.campaign(CAMPAIGN).grid
        return {
            "store": str(store.path),
            "views": grid.num_images * grid.num_seeds,
            "views_computed": views,
            "fingerprint": store.manifest.fingerprint,
        }

    def features(self) -> dict[str, Any]:
        """Write what is missing of the students' stored features, and seal them."""
        wanted = feature_campaigns(self.config)
        if not wanted:
            return {"views_computed": {}}
        with open_reader(self.config.store.path, campaigns=(CAMPAIGN,)):
            pass  # the windows must be there before anything is cut by them
        store = open_store(self.config.store.path)
        check_fits(store, self.config, self.data)
        computed: dict[str, int] = {}
        for campaign, table in wanted.items():
            prepare_features(store, self.config, table)
            prefix = f"{campaign}{tasks.SEPARATOR}"
            computed[campaign] = self._write_campaign(store, campaign, "features", "tasks:features", prefix)
        return {"views_computed": computed}

    def train(self) -> dict[str, Any]:
        """Train every student that is not finished."""
        plans = student_plans(self.config)
        self._check_students(plans)
        waiting = [plan.id for plan in plans if self._record(plan) is None]
        self._say_done("students", len(plans) - len(waiting), len(plans))
        if waiting:
            self._run("train", "tasks:train", waiting, "steps")
        records = {plan.id: self._record(plan) for plan in plans}
        stale = [name for name, record in records.items() if record is None]
        if stale:
            raise ValueError(
                f"found {', '.join(stale)} trained under another config, expected this one: the tasks were submitted "
                f"before it changed. Run again: {self.command}"
            )
        finished = [record for record in records.values() if record is not None]
        return {
            "students": list(records),
            "trained": waiting,
            "views": sum(record["views"] for record in finished),
            "train_seconds": {record["student"]: record["train_seconds"] for record in finished},
        }

    def evaluate(self) -> dict[str, Any]:
        """Accuracies of hand-written prompts and of all finished students; writes results.json and report.md."""
        missing = missing_features(self.config)
        if missing:
            self._run("test-features", "tasks:test_features", missing, "images")
        results = evaluate(self.config)
        replace_json(self.folder.results_file, results)
        write_report(self.folder.report_file, results)
        return {**results, "results": str(self.folder.results_file), "report": str(self.folder.report_file)}

    def _write_campaign(self, store: Store, campaign: str, stage: str, function: str, prefix: str) -> int:
        """Run the tasks of a campaign's missing blocks and seal it; the number of views computed."""
        missing = store.missing_blocks(campaign)
        blocks = store.blocks(campaign)
        self._say_done(f"blocks of {campaign}", len(blocks) - len(missing), len(blocks))
        views = 0
        if missing:
            status = self._run(stage, function, [prefix + block.id for block in missing], "views")
            views = sum((record.result or {}).get("views", 0) for record in status.records.values())
        if not store.campaign(campaign).is_sealed:
            seal(store.path, campaign)
        return views

    def _check_students(self, plans: Sequence[StudentPlan]) -> None:
        """Refuse before any task is started what each of them would refuse; the store is opened once for all."""
        sets = {plan.id: training_set(self.data, plan.config, plan.seed) for plan in plans}
        served = [plan for plan in plans if plan.needs_store]
        if not served:
            return
        with open_run_store(self.config) as reader:
            for plan in served:
                check_serves(reader, self.config, plan, self.data)
                if plan.supervision == "cached":
                    stored_labels(reader, sets[plan.id].class_names)

    def _record(self, plan: StudentPlan) -> dict[str, Any] | None:
        return finished_record(self.folder.student(plan.id), student_identity(self.config, plan, self.data))

    def _say_done(self, what: str, done: int, total: int) -> None:
        if done:
            self.ui.say(f"{what}: {done} of {total} are there, nothing to compute for them")

    def _run(self, name: str, function: str, task_ids: Sequence[str], unit: str) -> StageStatus:
        """Run tasks to the end, with a bar. Raises StageFailed where one does not complete."""
        saved = self.folder.save(self.config)
        cluster = self.config.cluster
        stage = Stage(
            name=name,
            function=f"fdbpl.pipeline.{function}",
            folder=self.folder.root,
            task_ids=tuple(task_ids),
            environment={tasks.CONFIG_VARIABLE: str(saved)},
            resources=Resources(
                cpus=cluster.cpus,
                gpus=cluster.gpus,
                memory_gb=cluster.memory_gb,
                minutes=cluster.minutes,
                max_parallel=cluster.max_workers,
            ),
        )
        backend = make_backend(cluster.kind, max_workers=cluster.max_workers, parameters=cluster.slurm)
        self.ui.say(f"{name}: {len(task_ids)} tasks on {backend.name} ({backend.reason})")
        with self.ui.bar(name, unit) as on_progress:
            status = backend.run(stage, on_update=lambda status: _draw(status, on_progress))
        if not status.is_complete:
            raise StageFailed(status, self.command)
        return status


def _draw(status: StageStatus, on_progress: Any) -> None:
    """Tasks that have not started are as long as the others, until they say otherwise."""
    progress = status.progress
    reported = sum(record.progress is not None for record in status.records.values())
    if reported:
        on_progress(int(progress.done), int(progress.total / reported * status.total))
