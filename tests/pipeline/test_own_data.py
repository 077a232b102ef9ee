"""Somebody's own folder of images: a config that needs no edit, and a run of it to the report."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.presets.own_data import fit_to
from fdbpl.pipeline.presets.preset import PRESETS, preset_values


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with so many JPEG files of each class."""

    def make(folder: str, **counts: int) -> Path:
        for label, (name, count) in enumerate(counts.items()):
            own = tmp_path / folder / name
            own.mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(number).integers(0, 60, (40 + number, 48, 3), dtype=np.uint8)
                Image.fromarray(noise + np.uint8(25 * label)).save(own / f"{number}.jpg")
        return tmp_path / folder

    return make


def test_a_folder_inside_is_named_from_the_config_and_another_by_its_whole_path(photos: Any, tmp_path: Path) -> None:
    folder = photos("my photos", a=9, b=9, c=9, d=9)
    inside, _ = fit_to(preset_values("tiny"), folder, tmp_path)
    assert inside["data"] == {"name": "my_photos", "folder": "my photos"}
    assert inside["folder"] == "runs/my_photos"
    outside, _ = fit_to(preset_values("tiny"), folder, tmp_path / "elsewhere")
    assert outside["data"]["folder"] == str(folder)


def test_a_folder_called_as_a_known_data_set_is_taken_for_it(photos: Any, tmp_path: Path) -> None:
    folder = photos("caltech-101", a=9, b=9, c=9, d=9)
    with pytest.raises(ValueError, match="split_zhou_Caltech101"):
        fit_to(preset_values("tiny"), folder, tmp_path)


def test_shots_are_no_more_than_the_smallest_class_has(photos: Any, tmp_path: Path) -> None:
    # Of 5 images one is for testing and one for validation, of 40 half are for training.
    folder = photos("photos", a=40, b=5, c=40, d=40)
    fitted, told = fit_to(preset_values("few-shot"), folder, tmp_path)
    assert [table["shots"] for table in fitted["student"]] == [[1], [1], [2, 3], [2, 3], [3], [3]]
    assert told == [
        "4 classes, 63 training images, 37 test images",
        "shots are 3 at most: the smallest class has no more training images",
    ]
    assert fit_to(preset_values("base-to-new"), folder, tmp_path)[0]["student"][0]["shots"] == [3]


def test_too_few_classes_to_halve_are_all_learned(photos: Any, tmp_path: Path) -> None:
    fitted, told = fit_to(preset_values("base-to-new"), photos("photos", a=40, b=40, c=40), tmp_path)
    assert fitted["evaluate"] == {"protocol": "few-shot"}
    assert {table["classes"] for table in fitted["student"]} == {"all"}
    assert "too few classes to halve" in told[-1]
    four, _ = fit_to(preset_values("base-to-new"), photos("more", a=40, b=40, c=40, d=40), tmp_path)
    assert "evaluate" not in four


@pytest.mark.parametrize(
    "preset", [name for name in PRESETS if "targets" not in preset_values(name).get("evaluate", {})]
)
def test_every_preset_of_one_data_set_makes_a_config(call: Any, photos: Any, tmp_path: Path, preset: str) -> None:
    photos("photos", a=9, b=9, c=9, d=9)
    answer = call("init", "--data", "photos", "--preset", preset, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["data"] == "photos"
    config = read_config(tmp_path / "fdbpl.toml")
    assert config.data.layout == "class_folders" and config.data.template == "a photo of a {}."
    assert config.teacher.templates == ("a photo of a {}.",)
    assert (tmp_path / "models/teacher.safetensors").exists() == (preset == "tiny")
    assert tomllib.loads((tmp_path / "fdbpl.toml").read_text())["data"]["folder"] == "photos"


@pytest.mark.slow
def test_init_and_submit_lead_to_a_report(run: Any, photos: Any, tmp_path: Path) -> None:
    photos("photos", apple=12, pear=12, plum=12, quince=12)
    assert run("init", "--data", "photos", "--preset", "tiny").returncode == 0
    answer = run("submit", "--watch", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = json.loads(run("evaluate", "--json").stdout)
    assert {row["method"]: row["num_seeds"] for row in found["methods"]} == {
        "coop-cross_entropy-hard": 3,
        "coop-kdpl-cached": 3,
        "coop-fdbpl-cached": 3,
    }
    assert (tmp_path / "runs/photos/report.md").is_file()
    assert run("status").returncode == 0
