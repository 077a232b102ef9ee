"""`fdbpl reproduce mini` as a person runs it, in its tiny form: complete, unharmed by kills, done when it is done."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.json_files import read_json

pytestmark = pytest.mark.slow
STEPS = ["worlds", "models", "labels", "features", "train", "table"]
TASKS = {"worlds": 2, "models": 3, "labels": 4, "features": 12, "train": 8, "table": 1}
NOTHING = dict.fromkeys(STEPS, 0)


def command(folder: Path, *arguments: str) -> list[str]:
    program = [sys.executable, "-m", "fdbpl.pipeline.cli", "reproduce", "mini", "--tiny"]
    return [*program, "--cluster", "local", "--workers", "2", "--folder", str(folder), "--json", *arguments]


def reproduce(folder: Path, *arguments: str) -> dict[str, Any]:
    answer = subprocess.run(command(folder, *arguments), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reproduction")


@pytest.fixture(scope="module")
def first(folder: Path) -> dict[str, Any]:
    """What the first run tells; tests read its folder and leave it as it is."""
    return reproduce(folder)


@pytest.fixture
def copied(folder: Path, first: dict[str, Any], tmp_path: Path) -> Path:
    """A finished reproduction that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def test_it_tells_all_that_others_read(first: dict[str, Any]) -> None:
    keys = {"learner", "objective", "split", "crops", "shots", "student", "base", "new", "hm", "sd"}
    keys |= {"paired_difference", "standard_error"}
    assert all(set(row) >= keys for row in first["results"])
    assert {(row["split"], row["crops"], row["objective"], row["student"]) for row in first["results"]} == {
        (split, crops, objective, student)
        for split in ("latin", "grid")
        for crops in ("ordinary", "small")
        for objective in ("cross_entropy", "kdpl", "fdbpl")
        for student in (1, 2)
    }
    assert len(first["results"]) == 24
    assert len(first["summary"]) == 12
    assert {(row["split"], row["role"], row["model"]) for row in first["zero_shot"]} == {
        (split, role, model)
        for split in ("latin", "grid")
        for role, models in (("teacher", ["strong"]), ("student", ["student1", "student2"]))
        for model in models
    } | {(split, "student_start", f"student{n}") for split in ("latin", "grid") for n in (1, 2)}
    assert first["computed"] == TASKS


def test_the_teacher_knows_the_worlds_and_its_weight_the_regions(first: dict[str, Any]) -> None:
    teachers = [row for row in first["zero_shot"] if row["role"] == "teacher"]
    assert all(row["hm"] > 95 for row in teachers)
    for region in first["regions"]:
        weights = [region[kind]["mean_weight"] for kind in ("background", "distractor", "main")]
        assert weights == sorted(weights)
        assert region["auc"] > 0.8


def test_students_are_pretrained_anew_each_from_its_own_seed(folder: Path, first: dict[str, Any]) -> None:
    records = [json.loads((folder / "models" / f"student{n}" / "student.json").read_text()) for n in (1, 2)]
    assert [record["seed"] for record in records] == [1, 2]
    assert records[0]["sha256"] != records[1]["sha256"]


def test_the_page_and_the_plots_are_there(folder: Path, first: dict[str, Any]) -> None:
    page = Path(first["report"]).read_text()
    assert "# The comparison in small: tiny form" in page
    for name in ("accuracy.svg", "differences.svg"):
        assert f"({name})" in page
        assert (folder / name).read_text().startswith("<?xml")


def test_run_again_it_computes_nothing_and_tells_the_same(folder: Path, first: dict[str, Any]) -> None:
    again = reproduce(folder)
    assert again["computed"] == NOTHING
    assert {key: again[key] for key in again if key not in ("computed", "seconds")} == {
        key: first[key] for key in first if key not in ("computed", "seconds")
    }


def test_each_run_is_an_ordinary_one(folder: Path, first: dict[str, Any], call: Any) -> None:
    """Its own commands work on it, and find the same."""
    answer = call("evaluate", str(folder / "runs" / "grid-small-strong.toml"), "--json")
    assert answer.returncode == 0, answer.stderr
    found = [one["base"] for one in json.loads(answer.stdout)["students"] if one["id"].startswith("fdbpl.student2.")]
    (row,) = (
        row
        for row in first["results"]
        if (row["split"], row["crops"], row["row"], row["student"]) == ("grid", "small", "fdbpl", 2)
    )
    assert row["base"] == pytest.approx(sum(found) / 2, abs=0.001)


def test_what_was_moved_is_there_still_but_for_its_table(copied: Path, call: Any) -> None:
    plan = json.loads(call(*command(copied, "--dry-run")[3:]).stdout)
    assert {step["step"]: step["tasks"] for step in plan["steps"]} == TASKS
    assert {step["step"]: step["missing"] for step in plan["steps"]} == NOTHING | {"table": 1}


def test_only_what_was_lost_is_made_again(copied: Path, first: dict[str, Any]) -> None:
    lost = copied / "runs" / "grid-small-strong" / "students" / "fdbpl.student2.4shots-coop-fdbpl-cached-seed1"
    shutil.rmtree(lost)
    again = reproduce(copied)
    assert again["computed"] == NOTHING | {"train": 1, "table": 1}
    assert again["results"] == first["results"]
    assert (lost / "record.json").exists()


def test_it_goes_on_in_the_background_and_tells_how_it_stands(copied: Path, call: Any) -> None:
    (copied / "results.json").unlink()
    submitted = reproduce(copied, "--submit")
    assert {step["step"]: step["submitted"] for step in submitted["steps"]} == NOTHING | {"table": 1}
    deadline = time.monotonic() + 120
    while (answer := call("status", str(copied), "--json")).returncode == 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status = json.loads(answer.stdout)
    assert (answer.returncode, status["standing"]) == (0, "complete")
    assert [step["step"] for step in status["steps"]] == STEPS
    assert (copied / "results.json").exists()


def test_a_folder_of_another_form_is_refused(folder: Path, first: dict[str, Any], call: Any) -> None:
    answer = call("reproduce", "mini", "--folder", str(folder), "--cluster", "local", "--dry-run")
    assert answer.returncode == 2
    assert "holds another world (spec.train_per_class: found 4, expected 12" in answer.stderr
    answer = call("reproduce", "mini", "--tiny", "--full")
    assert (answer.returncode, "found --full and --tiny, expected one" in answer.stderr) == (2, True)


def runs_now(folder: Path, step: str) -> Callable[[], bool]:
    """Whether a task of a step is at work."""

    def runs_now() -> bool:
        files = (folder / "records" / step).glob("*.json")
        return any((read_json(file) or {}).get("state") == "running" for file in files if file.name != "jobs.json")

    return runs_now


def test_killed_in_each_step_it_goes_on_and_ends_as_undisturbed(first: dict[str, Any], tmp_path: Path) -> None:
    """One folder, killed in one step after the other."""
    for step in STEPS:
        process = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline, moment = time.monotonic() + 300, runs_now(tmp_path, step)
        while not moment():
            assert process.poll() is None, f"it ended before it could be killed in {step}"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.communicate()
        for file in (tmp_path / "records" / step).glob("*.json"):
            # A record of a killed task says 'running' for ever: the next moment must be of a new attempt.
            if (read_json(file) or {}).get("state") == "running":
                file.unlink()
    again = reproduce(tmp_path)
    assert again["computed"] == NOTHING | {"table": 1}
    assert {key: again[key] for key in ("results", "summary", "zero_shot", "regions")} == {
        key: first[key] for key in ("results", "summary", "zero_shot", "regions")
    }
