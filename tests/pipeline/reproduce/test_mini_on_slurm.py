"""The reproduction by one submission to a real Slurm cluster, unattended."""

import json
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.paths import StagePaths

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_one_submission_ends_with_the_page(slurm_cluster: Any, run: Any, cluster_module: Any, tmp_path: Path) -> None:
    where = ("reproduce", "mini", "--tiny", "--folder", "small", "--cluster", "slurm", "--json")
    submitted = run(*where, "--submit")
    assert submitted.returncode == 0, submitted.stderr
    tasks = {"worlds": 2, "models": 3, "labels": 4, "features": 12, "train": 8, "table": 1}
    told = json.loads(submitted.stdout)
    assert (told["backend"], {step["step"]: step["submitted"] for step in told["steps"]}) == ("slurm", tasks)

    def has_ended() -> bool:
        return run("status", "small", "--json").returncode != 3

    cluster_module.wait_until(has_ended, "the reproduction ends", timeout_seconds=600)
    status = json.loads(run("status", "small", "--json").stdout)
    assert status["standing"] == "complete", run("logs", "small", "--failed").stdout
    paths = {name: StagePaths(folder=tmp_path / "small", stage=name) for name in tasks}
    assert {name: len(read_journal(one).submissions) for name, one in paths.items()} == dict.fromkeys(tasks, 1)

    again = run(*where)
    assert again.returncode == 0, again.stderr
    results = json.loads(again.stdout)
    assert set(results["computed"].values()) == {0}
    assert len(results["results"]) == 24
    assert (tmp_path / "small" / "report.md").exists()
