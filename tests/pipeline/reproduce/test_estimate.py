"""The time that a reproduction is said to take."""

from pathlib import Path

import pytest

from fdbpl.pipeline.reproduce.chain import reproduction_chain
from fdbpl.pipeline.reproduce.estimate import RATES, makespan, plan_reproduction, task_seconds
from fdbpl.pipeline.reproduce.form import FORMS

QUICK = FORMS["quick"]


def test_tasks_are_taken_in_order_by_whoever_is_free() -> None:
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([1.0, 1.0, 1.0, 3.0], 2) == 4.0
    assert makespan([2.0, 2.0, 2.0], 1) == 6.0
    assert makespan([], 2) == 0.0


def test_seconds_of_a_task_follow_from_the_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    for unit in RATES:
        monkeypatch.setitem(RATES, unit, 100.0)
    assert task_seconds(QUICK, "worlds", "latin") == 32 * (12 + 100) / 100
    assert task_seconds(QUICK, "models", "strong") == 0
    assert task_seconds(QUICK, "models", "student3") == (20_000 + 600) / 100
    assert task_seconds(QUICK, "labels", "grid-small-strong") == 32 * 12 * 31 / 100
    assert task_seconds(QUICK, "features", "grid-small-strong@strong") == 32 * 100 / 100
    assert task_seconds(QUICK, "features", "grid-small-strong@student1") == (32 * 12 * 31 + 32 * 100) / 100
    assert task_seconds(QUICK, "train", "grid-small-strong@student1") == 3 * 3 * 400 / 100


def test_the_quick_form_takes_no_more_than_20_minutes_on_two_cores(tmp_path: Path) -> None:
    plan = plan_reproduction(QUICK, tmp_path, reproduction_chain(QUICK, tmp_path), 2)
    assert [step["step"] for step in plan["steps"]] == ["worlds", "models", "labels", "features", "train", "table"]
    assert [step["missing"] for step in plan["steps"]] == [2, 6, 4, 24, 20, 1]
    assert plan["trainings"] == 4 * 5 * 3 * 3
    assert 300 < plan["seconds"] < 1200
    assert not list(tmp_path.iterdir())


def test_the_full_form_takes_hours(tmp_path: Path) -> None:
    full = FORMS["full"]
    plan = plan_reproduction(full, tmp_path, reproduction_chain(full, tmp_path), 2)
    assert plan["trainings"] == 8 * 8 * 3 * 3 * 5
    assert 3600 < plan["seconds"] < 12 * 3600
