"""`fdbpl cache copy-to, diff, export, import` from outside: what they print, and their exit codes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
FORMAT_1 = Path(__file__).parents[1] / "cache_layout/formats/1/store.zarr"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `fdbpl cache` in the test's folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fdbpl.pipeline.cli", "cache", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def store(tmp_path: Path, run: Run) -> str:
    """A small sealed store in the test's folder: the two largest logits of the one that is kept of format 1."""
    answer = run("export", str(FORMAT_1), "store.zarr", "--top-k", "2")
    assert answer.returncode == 0, answer.stderr
    assert "top 2 of store.zarr: 50/50 views" in answer.stderr
    assert answer.stdout.startswith(str(tmp_path / "store.zarr")) and "to 1)" in answer.stdout
    return "store.zarr"


def test_copy_to(store: str, tmp_path: Path, run: Run) -> None:
    plan = json.loads(run("copy-to", store, "node", "--dry-run", "--json").stdout)
    assert plan["fits"] and not plan["is_present"] and plan["files"] == 45
    assert not (tmp_path / "node").exists()
    made = run("copy-to", store, "node")
    assert (made.returncode, made.stdout.strip()) == (0, plan["target"])
    assert made.stderr.count("1/1 MB") == 1
    again = run("copy-to", store, "node", "--json")
    assert json.loads(again.stdout) == {"copy": plan["target"], "was_there": True, "bytes": plan["bytes"]}
    assert again.stderr == ""
    assert json.loads(run("diff", store, plan["target"], "--json").stdout)["equal"]
    refused = run("copy-to", "--remove", store)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "nothing is removed" in refused.stderr
    assert run("copy-to", "--remove", plan["target"]).returncode == 0
    assert not list((tmp_path / "node").iterdir())
    for wrong, message in (
        (["copy-to", store], "found no folder"),
        (["copy-to", store, "node", "--remove"], "expected the copy's alone"),
        (["copy-to", store, "node", "--campaign", "none"], "no campaign 'none'"),
        (["copy-to", store, f"{store}/crop"], "inside the store"),
    ):
        answer = run(*wrong)
        assert answer.returncode == 2 and message in answer.stderr and "Traceback" not in answer.stderr


def test_export_and_import(store: str, tmp_path: Path, run: Run) -> None:
    plan = json.loads(run("export", store, "archive.zarr", "--dry-run", "--json").stdout)
    assert plan["is_estimate"] and plan["target"] == str(tmp_path / "archive.zarr")
    made = run("export", store, "archive.zarr")
    assert made.returncode == 0 and "exporting store.zarr: 1/1 MB" in made.stderr
    assert "import" in run("info", "archive.zarr").stderr
    assert "bytes in 45 shards would be written" in run("import", "archive.zarr", "back.zarr", "--dry-run").stdout
    facts = json.loads(run("import", "archive.zarr", "back.zarr", "--json").stdout)
    assert facts["path"] == str(tmp_path / "back.zarr")
    assert run("diff", store, "back.zarr").stdout.startswith("equal")
    refused = run("import", "archive.zarr", "back.zarr", "--json")
    assert refused.returncode == 2
    assert "already" in json.loads(refused.stdout)["error"]


def test_every_command_has_help(run: Run) -> None:
    for command in ("copy-to", "diff", "export", "import"):
        answer = run(command, "--help")
        assert answer.returncode == 0 and "--json" in answer.stdout, command


def test_diff_names_what_differs(store: str, tmp_path: Path, run: Run) -> None:
    answer = run("diff", str(FORMAT_1), store)
    assert answer.returncode == 1
    assert "format_version: A 1, B 2" in answer.stdout
    assert "manifest.derived: A (absent), B {'from': 'sha256:" in answer.stdout
    assert "campaign teacher: files not compared: another format version" in answer.stdout
    facts = json.loads(run("diff", str(FORMAT_1), store, "--json").stdout)
    assert not facts["equal"]
    shutil.rmtree(tmp_path / store / "images")
    broken = run("diff", store, store)
    assert broken.returncode == 2 and "images/0: missing" in broken.stderr
