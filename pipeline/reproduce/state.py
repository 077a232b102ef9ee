"""How far a reproduction is, asked of what lies on the disk; imports no torch."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.world import is_made
from fdbpl.pipeline.evaluation.record import has_test_features, test_passes
from fdbpl.pipeline.labels.feature_names import campaign_of, feature_campaigns
from fdbpl.pipeline.labels.grid import new_grid
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.reproduce.crop_record import has_crop_features
from fdbpl.pipeline.reproduce.form import FORMS, Form
from fdbpl.pipeline.reproduce.models import is_model_made, model_names
from fdbpl.pipeline.reproduce.runs import Layout, Run, TableName, all_runs, run_config
from fdbpl.pipeline.run.state import Pass
from fdbpl.pipeline.students.plan import StudentPlan, list_plans
from fdbpl.pipeline.training.student_record import finished_records
from fdbpl.pipeline.weights import model_key

# Names the form in the environment of every task.
FORM_VARIABLE = "FDBPL_REPRODUCE"


def form_of(environment: Mapping[str, str]) -> Form:
    """The form that the tasks were submitted with."""
    return FORMS[environment[FORM_VARIABLE]]


class ReproductionState:
    """What is there of a form in a folder; each thing is looked up once."""

    def __init__(self, form: Form, folder: Path) -> None:
        self.form, self.folder, self.layout = form, folder, Layout(folder)

    @cached_property
    def runs(self) -> list["RunState"]:
        return [RunState(self, run) for run in all_runs(self.form)]

    def has_world(self, split: str) -> bool:
        """Raises ValueError where another world lies in its place."""
        return is_made(self.layout.world(split), spec=self.form.world(split), seed=self.form.world_seed)

    def has_model(self, name: str) -> bool:
        return is_model_made(self.form, self.folder, name)

    @cached_property
    def has_models(self) -> bool:
        return all(map(self.has_model, model_names(self.form)))


class RunState:
    """What is there of one run, looked up once. Without its world and all models, nothing is."""

    def __init__(self, whole: ReproductionState, run: Run) -> None:
        self.whole, self.run = whole, run

    @cached_property
    def config(self) -> RunConfig:
        return run_config(self.whole.form, self.whole.folder, self.run)

    @cached_property
    def is_ready(self) -> bool:
        """Whether the run has all that it begins with."""
        return self.whole.has_models and self.whole.has_world(self.run.split)

    @cached_property
    def has_labels(self) -> bool:
        """Whether every block of the teacher is written."""
        return self.is_ready and self._store is not None and not self._pass(CAMPAIGN).missing

    @cached_property
    def is_labelled(self) -> bool:
        """Whether the labels are sealed, and the campaigns of all students' features begun."""
        return (
            self.has_labels
            and self._pass(CAMPAIGN).is_sealed
            and all(self._pass(name).is_begun for name in feature_campaigns(self.config))
        )

    def has_features(self, model: str) -> bool:
        """Whether a model's features of the test images are there, and a student's of all crops."""
        if not self.is_labelled:
            return False
        student = self.table_of(model)
        if student is not None and self._pass(campaign_of(student)).missing:
            return False
        if student is not None and self.whole.form.rejects and not has_crop_features(self.config, student):
            return False
        return has_test_features(test_passes(self.config)[model_key(student or self.config.teacher)], self._data)

    @cached_property
    def are_features_sealed(self) -> bool:
        return self.is_labelled and all(self._pass(name).is_sealed for name in feature_campaigns(self.config))

    def is_trained(self, student: str) -> bool:
        """Whether all trainings of a pretrained student are finished."""
        return self.are_features_sealed and all(self._is_finished[plan.id] for plan in self.plans_of(student))

    def plans_of(self, student: str) -> list[StudentPlan]:
        """The trainings of a pretrained student."""
        return [plan for plan in list_plans(self.config) if TableName.of_id(plan.id).student == student]

    @cached_property
    def _is_finished(self) -> dict[str, bool]:
        records = finished_records(self.config, list_plans(self.config), self._data)
        return {name: record is not None for name, record in records.items()}

    def table_of(self, model: str) -> StudentConfig | None:
        """A table of that student; None of a teacher."""
        return next((table for table in self.config.student if TableName.of_id(table.name).student == model), None)

    @cached_property
    def _data(self) -> DataSet:
        return run_data(self.config)

    @cached_property
    def _store(self) -> Store | None:
        return open_store(self.config.store.path) if self.config.store.path.exists() else None

    def _pass(self, campaign: str) -> Pass:
        return Pass(self._store, campaign, new_grid(self.config, len(self._data.train.paths)))
