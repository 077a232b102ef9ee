"""Whether the features of test images are there, by model and data set, and what students reach on them; told without
torch."""

import json
from dataclasses import dataclass
from typing import Any

from safetensors import safe_open

from fdbpl.cache_layout.manifest import digest_of
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data.load import DataSets, load_data
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import decoder_name
from fdbpl.pipeline.evaluation.protocol import Test, tests_of
from fdbpl.pipeline.labels.manifest import names_digest
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import StudentPlan, list_plans
from fdbpl.pipeline.weights import model_key, weights_source


@dataclass(frozen=True, kw_only=True)
class TestPass:
    """The test images of one data set through one model's frozen encoder.

    Attributes:
        key: names it, in files and tasks.
        model: whose encoder.
        config: the run's, with the test's data set in place of its own.
    """

    __test__ = False  # no test of pytest's

    key: str
    model: ModelConfig
    config: RunConfig

    def load_data(self) -> DataSet:
        return load_data(self.config.data)


def pass_of(config: RunConfig, test: Test, model: ModelConfig) -> TestPass:
    """The pass whose features a test of that model needs."""
    key = model_key(model)
    if test.data != config.data:
        key = f"{key}@{test.data.name}"
    return TestPass(key=key, model=model, config=config.model_copy(update={"data": test.data}))


def test_passes(config: RunConfig) -> dict[str, TestPass]:
    """All passes of a run, by key: each data set under the teacher first, then under each backbone of students."""
    models: tuple[ModelConfig, ...] = (config.teacher, *config.student)
    passes = [pass_of(config, test, model) for model in models for test in tests_of(config)]
    return {one.key: one for one in passes}


def missing_features(config: RunConfig) -> list[str]:
    """The keys of the passes whose features are not there, or were made from other weights or images."""
    data_sets = DataSets()
    return [
        key for key, one in test_passes(config).items() if not has_test_features(one, data_sets.of(one.config.data))
    ]


def has_test_features(one: TestPass, data: DataSet) -> bool:
    """Whether the features of a pass are there, and were made as they would be now."""
    facts = _facts(one)
    is_whole = not json.loads(facts.get("excluded", "[]"))
    return facts.get("fdbpl") == features_identity(one, data) and (is_whole or one.config.data.bad_images == "exclude")


def excluded_tests(config: RunConfig, data_name: str) -> dict[str, str]:
    """The test images of a data set that at least one model's features lack because they cannot be read: path ->
    reason."""
    passes = [one for one in test_passes(config).values() if one.config.data.name == data_name]
    found = [json.loads(_facts(one).get("excluded", "[]")) for one in passes]
    return {path: reason for pairs in found for path, reason in pairs}


def features_identity(one: TestPass, data: DataSet) -> str:
    """All that test features follow from, as JSON."""
    facts: dict[str, Any] = {
        "model": one.model.model,
        "source": weights_source(one.model.pretrained),
        "precision": one.model.precision,
        "images": data.test.digest,
        "decoder": decoder_name(one.config),
    }
    return json.dumps(facts, sort_keys=True)


class TestsIdentity:
    """All that what a student reaches follows from: its record, the test images and their classes, what is measured."""

    __test__ = False  # no test of pytest's

    def __init__(self, config: RunConfig, data_sets: DataSets | None = None) -> None:
        data_sets = data_sets or DataSets()
        self._config = config
        self._data = {test.data.name: data_sets.of(test.data) for test in tests_of(config)}

    def of(self, plan: StudentPlan) -> dict[str, Any]:
        """That student's."""
        config = self._config
        record = RunFolder(config.folder).student(plan.id).record_file
        return {
            "student": digest_of(record.read_bytes()) if record.exists() else None,
            "reject": config.evaluate.reject,
            "tests": [
                [
                    test.name,
                    test.part,
                    features_identity(pass_of(config, test, plan.config), self._data[test.data.name]),
                    names_digest(self._data[test.data.name].class_names),
                ]
                for test in tests_of(config)
            ],
        }


def untested_students(config: RunConfig) -> tuple[list[str], int]:
    """The students whose tests are a task of their own and are not there, and how many such students there are."""
    slow = [plan for plan in list_plans(config) if learner_entry(plan.learner).slow_to_evaluate]
    identities = TestsIdentity(config) if slow else None
    missing = []
    for plan in slow:
        path = RunFolder(config.folder).student(plan.id).tests_file
        assert identities is not None
        if not path.exists() or json.loads(path.read_text())["identity"] != identities.of(plan):
            missing.append(plan.id)
    return missing, len(slow)


def _facts(one: TestPass) -> dict[str, str]:
    """What a pass's file says of itself; nothing where there is no file."""
    path = RunFolder(one.config.folder).test_features(one.key)
    if not path.exists():
        return {}
    with safe_open(path, framework="np") as file:
        return dict(file.metadata() or {})
