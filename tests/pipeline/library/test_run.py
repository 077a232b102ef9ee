"""A run from Python gives what the commands give."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fdbpl.pipeline.library.run import Run

# As in `python -c`, where a program has no file of its own that a worker could read.
SCRIPT = """
import json, sys
from fdbpl.pipeline.library.run import Run
print(json.dumps(Run(sys.argv[1], quiet=True).whole()["methods"]))
"""


@pytest.mark.slow
def test_the_whole_run_step_by_step_and_again(write_config: Callable[..., Path], call: Any) -> None:
    config = write_config()
    run = Run(config, quiet=True)
    assert run.students == ("coop-kdpl-cached-seed1",)
    assert [step["step"] for step in run.plan()["steps"]][:2] == ["prepare", "teach"]
    with pytest.raises(ValueError, match="found no prompts of the student 'coop-kdpl-cached-seed1'"):
        run.prompts("coop-kdpl-cached-seed1")
    results = run.whole()
    assert run.teach()["views_computed"] == 0 and run.train()["trained"] == []
    assert results["methods"] == json.loads(call("evaluate", "run.toml", "--json").stdout)["methods"]
    learner = run.learner(run.students[0])
    assert learner.classifier(["red circle", "a new thing"])["classifier"].shape == (2, 64)
    assert run.report().read_text().startswith("<!doctype html>")
    batch = run.views(pixels=True)[[0, 1]]
    assert batch["pixels"].shape == (2, 3, 48, 48) and torch.isfinite(batch["logits"]).all()
    again = subprocess.run([sys.executable, "-c", SCRIPT, str(config)], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout) == results["methods"]


def test_a_wrong_config_is_refused_as_by_the_commands(write_config: Callable[..., Path]) -> None:
    config = write_config()
    with pytest.raises(ValueError, match="did you mean 'seeds'"):
        Run(config, ["crops.sedes=3"])
    with pytest.raises(ValueError, match="found objective = 'kdlp'"):
        Run(config, ["student.0.objective=kdlp"])
