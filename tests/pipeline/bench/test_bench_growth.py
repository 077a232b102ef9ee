"""The bench of growth, in small: a point for every value of each axis, and costs that follow what they must."""

import json
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.bench.growth import AXES, GrowthParameters, bench_growth
from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.progress import Ui

STUDENT = "fdbpl-tiny-student"
POINTS = {"classes": (8, 32), "views": (4, 8), "students": (1, 3)}


def test_every_point_is_measured_and_drawn(tmp_path: Path, call: Any) -> None:
    given = ("--classes", "8,32", "--views", "4,8", "--students", "1,3", "--seconds", "0", "--device", "cpu")
    answer = call("bench", "growth", "--student", STUDENT, *given, "--out", str(tmp_path / "out"), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    rows = {(row["axis"], row["value"]): row for row in found["results"]}
    assert list(rows) == [(axis, value) for axis in AXES for value in POINTS[axis]]
    operations = {point: row["operations_per_step"] for point, row in rows.items()}
    assert operations["classes", 32] > 2.5 * operations["classes", 8], "nearly in a line with the classes"
    assert operations["views", 8] < 1.1 * operations["views", 4], "prompts do not depend on views"
    assert operations["students", 3] == pytest.approx(operations["students", 1], rel=0.01), "of one student's part"
    for row in rows.values():
        assert row["bound_seconds"] == pytest.approx(row["operations_per_step"] / found["matrix_rate"], abs=1e-6)
        assert row["seconds_per_step"] > row["bound_seconds"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "results.csv", "growth.svg"}


def test_the_stores_bytes_are_those_of_its_rows(tmp_path: Path) -> None:
    """Of 512 values: an embedding and a student's features of two bytes each, the window of 17."""
    register_tiny_models()
    parameters = GrowthParameters(student=STUDENT, classes=(40,), views=(4,), students=(1,), seconds=0.0, device="cpu")
    store = {row["labels"]: row for row in bench_growth(parameters, tmp_path, Ui(quiet=True))["store"]}
    width = 2 * store_width(store)
    assert store["logits"]["bytes_per_view"] == 17 + width + 2 * 40
    assert store["topk"]["bytes_per_view"] == 17 + width + 16 * 4 + 4
    assert store["logits"]["gb_for_1e8_views"] == round(store["logits"]["bytes_per_view"] / 10, 1)


def store_width(store: dict[str, Any]) -> int:
    """D, of an embedding and features of as many values."""
    return int((store["embedding"]["bytes_per_view"] - 17) / 4)
