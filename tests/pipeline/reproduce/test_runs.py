"""What is compared, as configs that any other command reads too."""

from dataclasses import replace
from pathlib import Path

import pytest

from fdbpl.pipeline.clip.world_recipes import RECIPES
from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.presets.preset import render
from fdbpl.pipeline.reproduce.form import FORMS
from fdbpl.pipeline.reproduce.rows import COMPARISON, REFERENCE, Row
from fdbpl.pipeline.reproduce.runs import Run, TableName, all_runs, run_config
from fdbpl.pipeline.students.checked import list_plans

QUICK, FULL = FORMS["quick"], FORMS["full"]
GRID = Run(split="grid", crops="small", teacher="strong")


def test_the_forms_cover_what_they_promise() -> None:
    assert [run.id for run in all_runs(QUICK)] == [
        *("latin-ordinary-strong", "latin-small-strong", "grid-ordinary-strong", "grid-small-strong")
    ]
    assert len(all_runs(FULL)) == 8
    assert FULL.shots == (1, 4, 16)
    assert FULL.few_shot_seeds == (1, 2, 3, 4, 5)
    assert [row.name for row in COMPARISON] == ["coop", "kdpl", "fdbpl"]
    assert REFERENCE in {row.name for row in COMPARISON}
    for form in (QUICK, FULL):
        assert form.num_students >= 5
        assert form.student_recipe == RECIPES["student"]
        # The shipped student has seed 0, and the demo's world too: neither is looked at again here.
        assert "student0" not in form.students
        assert form.world_seed != 0


def test_every_student_is_told_apart_by_row_pretraining_shots_and_seed() -> None:
    plans = list_plans(run_config(FULL, Path("x"), GRID))
    assert len(plans) == 3 * 8 * 3 * 5
    plan = next(plan for plan in plans if plan.id == "fdbpl.student2.16shots-coop-fdbpl-cached-seed5")
    assert TableName.of_id(plan.id) == TableName(row="fdbpl", student="student2", shots=16)
    assert plan.config.pretrained.endswith("x/models/student2/student.safetensors")
    assert (plan.objective, plan.supervision, plan.shots, plan.seed) == ("fdbpl", "cached", 16, 5)


def test_all_students_take_as_many_steps_whatever_the_shots() -> None:
    """16, 64 and 256 images in batches of 16, 32 and 32: 1, 2 and 8 steps an epoch."""
    tables = run_config(FULL, Path("x"), GRID).student
    assert {table.shots: table.epochs for table in tables} == {(1,): 400, (4,): 200, (16,): 50}
    assert {table.batch_size for table in tables} == {32}


def test_a_run_is_asked_by_the_right_words_and_starts_from_misleading_ones() -> None:
    config = run_config(QUICK, Path("x"), GRID)
    assert config.teacher.templates == ("a negative of a {}.",)
    assert config.data.template == "a negative of a {}."
    assert config.crops.scale == (0.06, 0.3)
    starts = {plan.learner_options().start_template(config.data.template) for plan in list_plans(config)}
    assert starts == {"a photo of a {}."}


def test_the_config_of_a_run_as_a_file_is_the_same(tmp_path: Path) -> None:
    config = run_config(QUICK, tmp_path, GRID)
    path = tmp_path / "run.toml"
    path.write_text(render(config, "a test"))
    assert read_config(path) == config


def test_a_row_is_a_table_of_its_own_however_many_share_an_objective(tmp_path: Path) -> None:
    row = Row(name="half_as_hot", label="KDPL, T/2", table={"objective": "kdpl", "objective_options": {"kdpl": {}}})
    form = replace(QUICK, rows=(*COMPARISON, row))
    ids = [plan.id for plan in list_plans(run_config(form, tmp_path, GRID))]
    assert "half_as_hot.student1.4shots-coop-kdpl-cached-seed1" in ids
    assert "kdpl.student1.4shots-coop-kdpl-cached-seed1" in ids


def test_a_name_that_could_not_be_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match="found the row 'a-b', expected a name of letters"):
        Row(name="a-b", label="x", table={"objective": "kdpl"})
