"""The bench of training, in small: every way is there and learns the same; ways that do not are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from vit_files import vit_files

from fdbpl.pipeline.bench.class_words import class_words
from fdbpl.pipeline.bench.gpu_training import Figure, training_figures
from fdbpl.pipeline.bench.train import bench_train
from fdbpl.pipeline.bench.train_ways import COMPILED, LABELS, ONLINE, TEXTS, WAYS, TrainParameters
from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.training import gather
from fdbpl.pipeline.training.supervision import StoredTeacher
from fdbpl.pipeline.values import Targets, Views

MODELS = {"student": "fdbpl-tiny-student", "teacher": "fdbpl-tiny-teacher"}
SMALL: dict[str, Any] = {**MODELS, "num_classes": 8, "batch_size": 4, "size": (80, 60), "device": "cpu"}


@pytest.fixture(autouse=True)
def known() -> None:
    register_tiny_models()


def test_every_way_is_measured_for_each_loss(tmp_path: Path, call: Any) -> None:
    given = ["--classes", "8", "--batch", "4", "--students", "3", "--size", "80x60", "--device", "cpu"]
    given += ["--seconds", "0", "--rounds", "1"]
    models = ("--student", MODELS["student"], "--teacher", MODELS["teacher"])
    answer = call("bench", "train", *models, *given, "--out", str(tmp_path / "out"), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert [(row["objective"], row["name"]) for row in found["results"]] == [
        (objective, name) for objective in ("kdpl", "fdbpl") for name in WAYS if name != COMPILED
    ]
    keys = {"name", "steps_per_s", "views_per_s", "ratio_to_online", "peak_memory_bytes", "share_of_bound"}
    for row in found["results"]:
        assert set(row) >= keys and row["views_per_s"] == pytest.approx(4 * row["steps_per_s"], rel=0.01)
        assert row["ratio_to_online"] == 1.0 or row["name"] != ONLINE
    assert [row["students"] for row in found["whole"]] == [1, 10, 100] * 2
    assert set(found["passes"]) == {"teacher", "features"} and min(found["passes"].values()) > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "results.csv", "rates.svg"}


def test_a_gpus_figures_are_of_every_way_and_students_together_must_gain(tmp_path: Path) -> None:
    parameters = TrainParameters(**SMALL, objectives=("kdpl",), num_students=3, seconds=0.0, num_rounds=1)
    figures = list(training_figures(parameters, tmp_path, Ui(quiet=True)))
    ways = len(WAYS) - 1
    assert len(figures) == 4 * ways + 1 and all(one.passed for one in figures[:-1])
    last = figures[-1]
    assert (last.name, last.least) == ("kdpl, 8 classes: students together against one by one", 4.0)
    assert last.passed == (last.found >= 4.0)
    assert Figure(name="", found=4.0, least=4.0).passed and not Figure(name="", found=3.99, least=4.0).passed


def test_a_learner_of_images_has_no_stored_features(tmp_path: Path) -> None:
    parameters = TrainParameters(
        **{**SMALL, "student": vit_files(tmp_path, "bench-vit", layers=12, width=16)["model"]},
        learner="vpt",
        objectives=("kdpl",),
        seconds=0.0,
        num_rounds=1,
    )
    found = bench_train(parameters, tmp_path, Ui(quiet=True))
    assert [row["name"] for row in found["results"]] == [ONLINE, LABELS, TEXTS]


def test_ways_that_do_not_learn_the_same_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Colder(StoredTeacher):
        def targets(self, views: Views) -> Targets:
            found = super().targets(views)
            return Targets(labels_B=found.labels_B, teacher_logits_BC=1.1 * found.teacher())

    monkeypatch.setattr(gather, "StoredTeacher", Colder)
    with pytest.raises(ValueError, match=r"cached labels: found a loss of .* in the first epoch, expected"):
        bench_train(TrainParameters(**SMALL, seconds=0.0, num_rounds=1), tmp_path, Ui(quiet=True))


def test_class_names_are_all_different_and_read_as_names() -> None:
    names = class_words(1000)
    assert len(set(names)) == 1000 and all(name.replace(" ", "").isalpha() for name in names)
    with pytest.raises(ValueError, match="found 5000 classes, expected 2 to"):
        class_words(5000)
