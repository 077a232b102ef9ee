"""The bench of starts, in small: every phase is there, and they add up."""

import json
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.bench.start import HELP, STUDENT
from fdbpl.pipeline.bench.start_child import PHASES


@pytest.mark.slow
def test_help_and_the_phases_of_a_student_are_measured(tmp_path: Path, call: Any) -> None:
    models = ("--student", "fdbpl-tiny-student", "--teacher", "fdbpl-tiny-teacher")
    small = ("--classes", "8", "--batch", "4", "--rounds", "1", "--device", "cpu")
    answer = call("bench", "start", *models, *small, "--out", str(tmp_path / "out"), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    for key in ("seconds", "cpu_seconds"):
        spent = {row["name"]: row[key] for row in found["results"]}
        assert list(spent) == [HELP, STUDENT, *PHASES] and min(spent.values()) >= 0
        assert spent[HELP] > 0 and spent["imports"] > 0 and spent["prompts and first step"] > 0
        assert sum(spent[phase] for phase in PHASES) == pytest.approx(spent[STUDENT], abs=0.01)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "results.csv", "rates.svg"}


def test_a_student_that_cannot_begin_is_told(call: Any) -> None:
    answer = call("bench", "start", "--student", "ViT-B-23", "--json")
    assert answer.returncode == 2 and "ViT-B-32" in answer.stderr
