"""Students that begin with the prompts of others: what they take, what they refuse, and when they are trained anew."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.evaluation.evaluate import evaluate
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.evaluation.record import missing_features
from fdbpl.pipeline.evaluation.report import result_rows
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import plan_by_id, student_plans
from fdbpl.pipeline.students.plan import stages
from fdbpl.pipeline.training.checkpoint import prompts_digest, read_prompts, save_prompts, start_from
from fdbpl.pipeline.training.student_record import identity_digest, is_finished, student_identity
from fdbpl.pipeline.training.student_run import run_student

MakeConfig = Callable[..., RunConfig]
FIRST, SECOND = "first-coop-kdpl-cached-seed1", "second-coop-kdpl-cached-seed1"


@pytest.fixture
def config_of(taught: RunConfig, make_config: MakeConfig, student_table: Callable[..., dict[str, Any]]) -> MakeConfig:
    """Makes a config of the tables `first` and `second`, in the wrong order, with changes to each. The second hardly
    moves from where it starts."""

    def make(first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> RunConfig:
        still = {"optimizer": "sgd", "learning_rate": 1e-12, "warmup_learning_rate": 1e-12, "weight_decay": 0.0}
        tables = [
            student_table(name="second", starts_from="first", **{"epochs": 1, "optim": still, **(second or {})}),
            student_table(name="first", **(first or {})),
        ]
        return make_config(student=tables).model_copy(update={"store": taught.store})

    return make


def train_all(config: RunConfig) -> dict[str, dict[str, Tensor]]:
    """Train stage after stage; the prompts of each table's student."""
    prompts = {}
    for plan in chain.from_iterable(stages(student_plans(config))):
        run_student(config, plan)
        prompts[plan.config.name], _ = read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)
    return prompts


@pytest.mark.parametrize(
    ("first", "second", "taken", "own"),
    [
        ("kdpl", "kdpl", {"positive"}, set()),
        ("kdpl", "fdbpl", {"positive"}, {"negative"}),
        ("fdbpl", "fdbpl", {"positive", "negative"}, set()),
        ("fdbpl", "kdpl", {"positive"}, set()),
    ],
)
def test_it_begins_with_the_prompts_of_the_same_names(
    first: str, second: str, taken: set[str], own: set[str], config_of: MakeConfig
) -> None:
    config = config_of(first={"objective": first}, second={"objective": second})
    prompts = train_all(config)
    assert set(prompts["second"]) == taken | own
    for name in taken:
        torch.testing.assert_close(prompts["second"][name], prompts["first"][name], rtol=0, atol=1e-6)
    alone = config.model_copy(update={"student": (config.student[0].model_copy(update={"starts_from": ""}),)})
    unled = train_all(alone.model_copy(update={"folder": config.folder / "alone"}))["second"]
    for name in taken:
        assert (prompts["second"][name] - unled[name]).abs().max() > 1e-3
    for name in own:
        torch.testing.assert_close(prompts["second"][name], unled[name], rtol=0, atol=1e-6)


def test_the_record_and_the_prompts_name_the_source(config_of: MakeConfig) -> None:
    config = config_of()
    prompts = train_all(config)
    data = load_data(config.data)
    folder = RunFolder(config.folder).student(SECOND)
    source = plan_by_id(config, FIRST)
    expected = {
        "student": FIRST,
        "identity": identity_digest(student_identity(config, source, data)),
        "prompts": prompts_digest(prompts["first"]),
    }
    assert json.loads(folder.record_file.read_text())["starts_from"] == expected
    assert read_prompts(folder.prompts_file)[1]["starts_from"] == expected
    assert run_student(config, source)["starts_from"] is None


def test_a_source_that_is_not_finished_is_named_with_what_to_run(config_of: MakeConfig) -> None:
    config = config_of()
    folder = RunFolder(config.folder)
    told = f"student {SECOND} starts from {FIRST}: found that one not finished .* run `fdbpl train CONFIG`"
    with pytest.raises(ValueError, match=told):
        run_student(config, plan_by_id(config, SECOND))
    run_student(config, plan_by_id(config, FIRST))
    folder.student(FIRST).record_file.unlink()  # as if it had been killed between its prompts and its record
    with pytest.raises(ValueError, match=told):
        run_student(config, plan_by_id(config, SECOND))
    train_all(config)
    longer = config_of(first={"epochs": 3})
    before = folder.student(SECOND).record_file.read_bytes()
    with pytest.raises(ValueError, match=f"starts from {FIRST}: found that one trained under another config"):
        run_student(longer, plan_by_id(longer, SECOND))
    assert folder.student(SECOND).record_file.read_bytes() == before


def test_prompts_that_another_training_left_beside_the_record_are_refused(config_of: MakeConfig) -> None:
    """The source's record still fits, its prompts say that they are of another config."""
    config = config_of()
    run_student(config, plan_by_id(config, FIRST))
    file = RunFolder(config.folder).student(FIRST).prompts_file
    prompts, facts = read_prompts(file)
    facts["identity"]["num_seeds"] += 1
    save_prompts(file, fixed(**prompts), facts)
    with pytest.raises(ValueError, match=f"starts from {FIRST}"):
        run_student(config, plan_by_id(config, SECOND))


def finished(config: RunConfig) -> dict[str, bool]:
    data = load_data(config.data)
    return {plan.config.name: is_finished(config, plan, data) for plan in student_plans(config)}


def test_a_change_of_the_first_stage_makes_the_second_stale(config_of: MakeConfig) -> None:
    assert finished(config_of()) == {"first": False, "second": False}
    train_all(config_of())
    assert finished(config_of()) == {"first": True, "second": True}
    assert finished(config_of(first={"epochs": 3})) == {"first": False, "second": False}
    assert finished(config_of(second={"epochs": 2})) == {"first": True, "second": False}
    RunFolder(config_of().folder).student(FIRST).prompts_file.unlink()
    assert finished(config_of()) == {"first": False, "second": True}


def test_who_starts_from_nobody_is_the_student_it_was(config_of: MakeConfig) -> None:
    """The key itself is no part of what a student depends on: only whom it stands for."""
    config = config_of()
    data = load_data(config.data)
    second = student_identity(config, plan_by_id(config, SECOND), data)
    first = student_identity(config, plan_by_id(config, FIRST), data)
    assert "starts_from" in second
    assert "starts_from" not in json.dumps(first)
    assert "starts_from" not in json.dumps(second["student"])


def test_who_uses_labels_only_depends_on_the_teacher_through_its_source(config_of: MakeConfig) -> None:
    config = config_of(second={"objective": "cross_entropy", "supervision": "hard"})
    teacher = config.teacher.model_copy(update={"templates": ("a drawing of a {}.",)})
    data = load_data(config.data)
    second, first = student_plans(config)
    alone = replace(second, source=None)
    for plan, same in ((second, False), (first, False), (alone, True)):
        other = student_identity(config.model_copy(update={"teacher": teacher}), plan, data)
        assert (student_identity(config, plan, data) == other) == same


def fixed(**values: Tensor) -> Any:
    """Stands for a learner with these prompts."""
    parameters = {name: nn.Parameter(value.clone()) for name, value in values.items()}
    return nn.ParameterDict(parameters)


def test_prompts_of_another_shape_or_name_are_refused() -> None:
    learner = fixed(positive=torch.zeros(4, 8))
    with pytest.raises(ValueError, match=r"\{'positive': \(5, 8\)\} to start from, expected \{'positive': \(4, 8\)\}"):
        start_from(learner, {"positive": torch.ones(5, 8)})
    with pytest.raises(ValueError, match="found prompts named visual, expected one of positive"):
        start_from(learner, {"visual": torch.ones(4, 8)})
    assert not learner["positive"].any()
    start_from(learner, {"positive": torch.ones(4, 8), "negative": torch.ones(5, 8)})
    assert learner["positive"].eq(1).all()


def test_it_is_evaluated_like_any_other(config_of: MakeConfig) -> None:
    config = config_of()
    for key in missing_features(config):
        write_test_features(config, key, lambda done, total: None)
    run_student(config, plan_by_id(config, FIRST))
    results = evaluate(config)
    assert results["unfinished"] == [SECOND]
    train_all(config)
    results = evaluate(config)
    rows = {student["method"]: (student["base"], student["new"]) for student in results["students"]}
    assert list(rows) == ["second-coop-kdpl-cached", "first-coop-kdpl-cached"]
    assert rows["second-coop-kdpl-cached"] == rows["first-coop-kdpl-cached"]  # it has hardly moved
    assert list(rows) == [row[0] for row in result_rows(results)][-2:]


def test_who_asks_what_is_finished_needs_no_torch(config_of: MakeConfig) -> None:
    config = config_of()
    run_student(config, plan_by_id(config, FIRST))
    saved: Path = RunFolder(config.folder).save(config)
    program = (
        "import sys; from pathlib import Path\n"
        "from fdbpl.pipeline.data.load import load_data\n"
        "from fdbpl.pipeline.run_folder import saved_config\n"
        "from fdbpl.pipeline.training.student_record import is_finished\n"
        "from fdbpl.pipeline.students.plan import list_plans, stages\n"
        f"config = saved_config(Path({str(saved)!r}))\n"
        "data = load_data(config.data)\n"
        "for plan in sum(stages(list_plans(config)), []): print(plan.id, is_finished(config, plan, data))\n"
        "print('torch' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.stdout.splitlines() == [f"{FIRST} True", f"{SECOND} False", "False"], answer.stderr
