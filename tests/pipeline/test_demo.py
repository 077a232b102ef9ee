"""The demo as a newcomer runs it: complete, honest in its table, idempotent, and unharmed by being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from fdbpl.cache_layout.reader import open_reader

pytestmark = pytest.mark.slow


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "fdbpl.pipeline.cli", "demo", "--folder", str(folder), "--json", *arguments]


def run_demo(folder: Path, *arguments: str) -> dict[str, Any]:
    answer = subprocess.run(command(folder, *arguments), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> dict[str, Any]:
    return run_demo(folder)


def test_it_prints_at_least_what_others_read(demo: dict[str, Any]) -> None:
    assert Path(demo["store"]).is_dir()
    assert Path(demo["report"]).exists()
    assert {role: set(demo["zero_shot"][role]) >= {"base", "new", "hm"} for role in ("teacher", "student")} == {
        "teacher": True,
        "student": True,
    }
    keys = {"learner", "objective", "supervision", "seed", "base", "new", "hm", "train_seconds"}
    assert len(demo["students"]) == 9
    assert all(set(student) >= keys for student in demo["students"])


def test_the_teacher_is_above_the_student(demo: dict[str, Any]) -> None:
    zero_shot = demo["zero_shot"]
    assert zero_shot["teacher"]["hm"] > zero_shot["student"]["hm"]


def test_every_student_is_above_the_prompt_that_it_starts_from(demo: dict[str, Any]) -> None:
    """On base classes, for each of three seeds. The order among methods is reported, never asserted."""
    start = demo["zero_shot"]["student_start"]
    assert start["template"] == "a photo of a {}."
    assert {student["id"]: student["base"] > start["base"] for student in demo["students"]} == {
        student["id"]: True for student in demo["students"]
    }


def test_the_table_shows_mean_and_spread_of_every_method(demo: dict[str, Any]) -> None:
    report = Path(demo["report"]).read_text()
    for method in demo["methods"]:
        assert method["num_seeds"] == 3
        assert f"| {method['method']} | {method['base']:.1f} ± {method['base_sd']:.1f} |" in report
    for template in ("a photo of a {}.", "a negative of a {}."):
        assert template in report


def test_the_teachers_weight_knows_regions(demo: dict[str, Any]) -> None:
    regions = demo["regions"]
    weights = [regions[kind]["mean_weight"] for kind in ("background", "distractor", "main")]
    assert weights == sorted(weights) and len(set(weights)) == 3
    assert regions["auc"] > 0.9


def test_plain_zarr_reads_every_view_of_the_demo(demo: dict[str, Any]) -> None:
    group = zarr.open_group(demo["store"], mode="r")
    with open_reader(demo["store"]) as reader:
        images = np.repeat(np.arange(reader.num_images), reader.num_seeds)
        seeds = np.tile(np.arange(reader.num_seeds), reader.num_images)
        assert len(images) == demo["views"]
        for name in reader.arrays:
            array = group[name]
            assert isinstance(array, zarr.Array)
            rows = reader.read(name, images, seeds)
            assert rows.tobytes() == np.ascontiguousarray(array[...]).tobytes()


def test_run_again_it_computes_nothing(folder: Path, demo: dict[str, Any]) -> None:
    again = run_demo(folder)
    assert (again["views_computed"], again["images_made"], again["students_trained"]) == (0, 0, 0)
    assert again["students"] == demo["students"]
    assert again["seconds"] < demo["seconds"] / 4


# A demo in small: two seeds of crops, one student a method.
SMALL = ("--set", "crops.seeds=2", "--set", "student.0.seeds=1", "--set", "student.1.seeds=1")


def images_are_made(folder: Path) -> bool:
    return len(list(folder.glob("world/images/*/*.jpg"))) > 300


def a_block_is_done(folder: Path) -> bool:
    return any(folder.glob("run/store.zarr/.records/teacher/*"))


def a_student_is_done(folder: Path) -> bool:
    return any(folder.glob("run/students/*/record.json"))


def accuracies(result: dict[str, Any]) -> list[tuple[str, float, float]]:
    return [(student["id"], student["base"], student["new"]) for student in result["students"]]


def test_killed_three_times_and_run_again_it_ends_as_undisturbed(tmp_path: Path) -> None:
    """One folder, killed at one moment after the other."""
    for moment in (images_are_made, a_block_is_done, a_student_is_done):
        process = subprocess.Popen(
            command(tmp_path / "killed", *SMALL),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not moment(tmp_path / "killed"):
            assert process.poll() is None, "the demo ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert accuracies(run_demo(tmp_path / "killed", *SMALL)) == accuracies(run_demo(tmp_path / "undisturbed", *SMALL))
