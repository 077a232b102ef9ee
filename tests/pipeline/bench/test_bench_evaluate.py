"""The bench of evaluation, in small: both ways are there and answer the same; ways that do not are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.bench.evaluate import FEATURES, IMAGES, EvaluateParameters, bench_evaluate
from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.evaluation import test_sets as test_sets_module
from fdbpl.pipeline.evaluation.features import SplitFeatures
from fdbpl.pipeline.progress import Ui

SMALL = EvaluateParameters(
    model="fdbpl-tiny-student",
    num_classes=4,
    num_images=10,
    size=(80, 60),
    batch_size=4,
    device="cpu",
    seconds=0.0,
    num_rounds=1,
)


@pytest.fixture(autouse=True)
def known() -> None:
    register_tiny_models()


def test_both_ways_are_measured(tmp_path: Path, call: Any) -> None:
    small = ("--classes", "4", "--images", "10", "--size", "80x60", "--batch", "4", "--seconds", "0", "--rounds", "1")
    model = ("--model", "fdbpl-tiny-student", "--device", "cpu")
    answer = call("bench", "evaluate", *model, *small, "--out", str(tmp_path / "out"), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert set(found) == {"machine", "threads", "parameters", "accuracy", "pass_seconds", "results"}
    assert [row["name"] for row in found["results"]] == [IMAGES, FEATURES]
    for row in found["results"]:
        assert set(row) == {"name", "images_per_s", "seconds", "ratio_to_images"}
        assert row["images_per_s"] * row["seconds"] == pytest.approx(10, rel=0.01)
    assert found["results"][0]["ratio_to_images"] == 1.0
    # Ten images, each of one class: a tenth of them is the least that one can be right about.
    assert found["accuracy"] in {10.0 * number for number in range(11)} and found["pass_seconds"] > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "results.csv", "rates.svg"}


def test_features_that_are_not_those_of_the_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = test_sets_module.read_test_features

    def turned(*given: Any) -> SplitFeatures:
        found = read(*given)
        return replace(found, features_ND=found.features_ND.flip(0))

    monkeypatch.setattr(test_sets_module, "read_test_features", turned)
    with pytest.raises(ValueError, match=r"cached features: found logits .* from those of the images at most"):
        bench_evaluate(SMALL, tmp_path, Ui(quiet=True))


def test_fewer_images_than_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 10 images of 11 classes, expected one of each at least"):
        bench_evaluate(replace(SMALL, num_classes=11), tmp_path, Ui(quiet=True))
