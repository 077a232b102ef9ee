"""Students of all kinds evaluated in a run: their own tasks where an image costs an encoder's pass, kept and stale."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data import load as load_module
from fdbpl.pipeline.evaluation.evaluate import evaluate
from fdbpl.pipeline.evaluation.record import untested_students
from fdbpl.pipeline.evaluation.student_tests import TrainedLearners, measure, write_student_tests
from fdbpl.pipeline.evaluation.test_sets import TestSets
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.checkpoint import read_prompts

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def workflow(config: RunConfig) -> Workflow:
    return Workflow(config, Ui(quiet=True), command="fdbpl evaluate run.toml")


@pytest.fixture
def trained(taught: RunConfig, make_config: MakeConfig, student_table: StudentTable) -> RunConfig:
    """A run with a student of fdbpl and one of a learner that is slow to evaluate, both trained."""
    tables = [
        student_table(objective="fdbpl", epochs=1),
        student_table(
            learner="cocoop", objective="kdpl", epochs=1, learner_options={"cocoop": {"prompts_at_once": 256}}
        ),
    ]
    config = make_config(student=tables)
    config = config.model_copy(update={"store": taught.store})
    workflow(config).train()
    return config


def test_rejection_is_measured_where_it_is_asked_for(trained: RunConfig) -> None:
    plain = workflow(trained).evaluate()
    assert all("rejection" not in student for student in plain["students"])
    asked = trained.model_copy(update={"evaluate": trained.evaluate.model_copy(update={"reject": True})})
    found = workflow(asked).evaluate()
    coop, cocoop = found["students"]
    assert set(coop["rejection"]) == {"max_probability", "negative", "both"}
    assert set(cocoop["rejection"]) == {"max_probability"}
    assert found["methods"][0]["rejection"] == coop["rejection"]
    assert [coop[key] for key in ("base", "new")] == [plain["students"][0][key] for key in ("base", "new")]
    assert "## Rejection" in Path(found["report"]).read_text()


def test_slow_tests_are_tasks_whose_results_are_kept(trained: RunConfig) -> None:
    slow = "cocoop-kdpl-cached-seed1"
    assert untested_students(trained) == ([slow], 1)
    first = workflow(trained).evaluate()
    kept = RunFolder(trained.folder).student(slow).tests_file
    told = json.loads(kept.read_text())
    row = next(student for student in first["students"] if student["id"] == slow)
    assert {name: round(value, 2) for name, value in told["accuracy"].items()} == {
        name: row[name] for name in ("base", "new")
    }
    assert untested_students(trained) == ([], 1)
    # It is what the report tells, as long as the student is the same.
    kept.write_text(json.dumps({**told, "accuracy": {"base": 12.0, "new": 34.0}}))
    RunFolder(trained.folder).report_file.unlink()
    again = next(student for student in workflow(trained).evaluate()["students"] if student["id"] == slow)
    assert (again["base"], again["new"]) == (12.0, 34.0)
    record = RunFolder(trained.folder).student(slow).record_file
    record.write_text(record.read_text().replace('"final_loss"', '"first_loss"'))
    assert untested_students(trained) == ([slow], 1)


def test_the_data_set_is_read_once_for_all_models_and_students(
    trained: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow(trained).evaluate()
    read: list[str] = []
    reader_of = load_module.reader_of

    def counted(layout: str) -> Any:
        read.append(layout)
        return reader_of(layout)

    monkeypatch.setattr(load_module, "reader_of", counted)
    assert len(evaluate(trained)["students"]) == 2 and read == ["split_json"]
    slow = student_plans(trained)[1]
    read.clear()
    assert write_student_tests(trained, slow, lambda done, total: None) > 0 and read == ["split_json"]


def test_accuracy_counts_the_own_images_among_the_own_names(trained: RunConfig) -> None:
    """Against a count by hand, image by image, for the student's hand-written prompt."""
    workflow(trained).evaluate()
    (plan, _) = student_plans(trained)
    sets = TestSets(trained, plan.config)
    backbone = load_backbone(plan.config)
    found = sets.by_text(lambda one: text_classifier(backbone, one.class_names, ("a negative of a {}.",)))
    for one in sets.sets:
        right = total = 0
        classifier_CD = text_classifier(backbone, one.class_names, ("a negative of a {}.",))
        for position, feature_D in zip(one.positions_N.tolist(), one.features_ND, strict=True):
            name = one.data.class_names[one.data.test.labels[position]]
            if name in one.class_names:
                total += 1
                right += one.class_names[int((classifier_CD @ feature_D).argmax())] == name
        assert total == 32
        assert found[one.test.name] == pytest.approx(100 * right / total)


def test_prompts_tell_how_they_are_used(trained: RunConfig) -> None:
    (plan, _) = student_plans(trained)
    prompts, facts = read_prompts(RunFolder(trained.folder).student(plan.id).prompts_file)
    assert set(prompts) == {"positive", "negative"}
    assert all(value.dtype == torch.float32 for value in prompts.values())
    assert (facts["use"]["learner"], facts["use"]["dual"], len(facts["use"]["class_names"])) == ("coop", True, 16)


def test_tests_that_take_long_tell_how_far_they_are(trained: RunConfig) -> None:
    """Batch by batch, with the images that are rejected counted too."""
    workflow(trained).evaluate()
    small = trained.model_copy(update={"loading": trained.loading.model_copy(update={"batch_size": 8})})
    (plan, _) = student_plans(small)
    told: list[tuple[int, int]] = []
    with TrainedLearners(small, "cpu") as learners:
        learner = learners.of(plan)
        learner.needs = frozenset({"features", "pixels"})  # as of a learner that reads images
        measure(learner, TestSets(small, plan.config), reject=True, on_progress=lambda *now: told.append(now))
    assert told == [(8 * number, 96) for number in range(1, 13)]
