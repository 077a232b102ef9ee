"""`fdbpl bench cache` from outside: the whole benchmark, tiny. Nothing here looks at how fast anything is."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.bench import run as run_module
from fdbpl.pipeline.bench.data import Data
from fdbpl.pipeline.bench.parameters import BenchParameters
from fdbpl.pipeline.bench.peers.all_peers import NAMES, make_peers
from fdbpl.pipeline.bench.run import run_bench
from fdbpl.pipeline.progress import Ui

TINY = ("--images", "64", "--seeds", "4", "--classes", "8", "--batch", "16", "--seconds", "0.01")


def bench(*arguments: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fdbpl.pipeline.cli", "bench", "cache", *arguments],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out") / "results"


@pytest.fixture(scope="module")
def results(out: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run with every reader, one and two processes, warm and cold, both patterns."""
    temporary = tmp_path_factory.mktemp("temporary")
    answer = bench(*TINY, "--processes", "1,2", "--out", str(out), "--json", temporary=temporary)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert list(temporary.iterdir()) == [], "the temporary folder was not removed"
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_every_situation_of_every_reader_is_there(results: dict[str, Any]) -> None:
    skipped = {one["reader"] for one in results["skipped"]}
    keys = ("reader", "pattern", "state", "processes")
    found = [tuple(one[key] for key in keys) for one in results["results"]]
    names = [name for name in NAMES if name not in skipped]
    assert {"fdbpl", "numpy", "zarr-python", "torch-pickles"} <= set(names)
    assert sorted(found) == sorted(product(names, ("random", "plane"), ("warm", "cold"), (1, 2)))
    for one in results["results"]:
        assert one["rows_per_s"] > 0
        assert one["p99_us"] >= one["p50_us"] > 0
        assert one["rounds"] >= 1
    assert set(results["settings"]) == set(names)


def test_machine_parameters_ratios_and_memory_are_told(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("machine", "parameters", "settings", "skipped", "notes", "results", "ratios", "memory"),
    }
    machine = results["machine"]
    assert set(machine) >= {"cpu", "cores", "memory_bytes", "kernel", "python", "file_system"}
    assert set(machine["versions"]) >= {"numpy", "zarr", "torch"}
    assert set(machine["fdbpl"]) == {"version", "commit"}
    assert results["parameters"]["images"] == 64
    assert results["parameters"]["processes"] == [1, 2]
    assert len(results["ratios"]) == 8
    for one in results["ratios"]:
        assert {"numpy", "zarr-python", "torch-pickles"} <= set(one["fdbpl_to"])
        assert one["best_other"] in results["settings"]
        assert one["fdbpl_to_best_other"] == one["fdbpl_to"][one["best_other"]]
    memory = results["memory"]
    assert set(memory) == {"processes", "pss_bytes", "file_bytes", "ratio"}
    assert memory["processes"] == 2
    assert memory["file_bytes"] > 64 * 4 * 8 * 2
    assert memory["pss_bytes"] == 8192  # the two pages of the one file, once for both processes


def test_states_are_what_they_are_called_or_it_is_noted(results: dict[str, Any]) -> None:
    for one in results["results"]:
        is_right = one["resident"] == (1.0 if one["state"] == "warm" else 0.0)
        assert is_right or any(note.startswith(one["state"]) and one["reader"] in note for note in results["notes"])


def test_the_files_hold_the_same(results: dict[str, Any], out: Path) -> None:
    assert json.loads((out / "results.json").read_text()) == results
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["reader"] for row in rows] == [one["reader"] for one in results["results"]]
    assert float(rows[0]["rows_per_s"]) == results["results"][0]["rows_per_s"]
    plot = (out / "rates.svg").read_text()
    assert "<svg" in plot and "</svg>" in plot


def test_a_person_gets_tables_and_the_folder_keeps_the_data(tmp_path: Path) -> None:
    small = (*TINY, "--processes", "1", "--readers", "numpy,fdbpl", "--folder", str(tmp_path / "kept"))
    answer = bench(*small, "--patterns", "random", temporary=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "random, warm" in answer.stdout and "random, cold" in answer.stdout
    assert "plane" not in answer.stdout.replace("of a plane", "")
    assert "memory: 1 processes" in answer.stdout
    assert "measure: 20/20 turns" in answer.stderr
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["fdbpl-bench"]
    plan = json.loads(bench(*small, "--dry-run", "--json", temporary=tmp_path).stdout)
    assert plan["bytes_to_write"] == 0


def test_a_dry_run_writes_nothing_and_tells_when_there_is_no_room(tmp_path: Path) -> None:
    fits = bench(*TINY, "--dry-run", temporary=tmp_path)
    assert fits.returncode == 0, fits.stderr
    assert "it fits" in fits.stdout
    huge = ("--images", "1000000000", "--seeds", "100", "--readers", "fdbpl,numpy", "--folder", str(tmp_path / "new"))
    plan = bench(*huge, "--dry-run", "--json", temporary=tmp_path)
    assert plan.returncode == 1
    assert json.loads(plan.stdout)["fits"] is False
    refused = bench(*huge, temporary=tmp_path)
    assert refused.returncode == 2
    assert "expected 600100.10 GB for the test data: choose another --folder" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_absent_library_is_skipped_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The run goes on with the others; without our own reader there are no ratios and no memory."""
    absent = {"reader": "lmdb", "reason": "lmdb is not installed", "install": "pip install 'fdbpl[bench]'"}
    monkeypatch.setattr(
        run_module, "make_peers", lambda names, folder, data: (make_peers(["numpy"], folder, data)[0], [absent])
    )
    parameters = BenchParameters(
        data=Data(num_images=64, num_seeds=4, num_classes=8),
        readers=("numpy", "lmdb"),
        patterns=("random",),
        states=("warm",),
        processes=(1,),
        batch=16,
        seconds=0.01,
    )
    results = run_bench(parameters, tmp_path, Ui(quiet=True))
    assert results["skipped"] == [absent]
    assert [one["reader"] for one in results["results"]] == ["numpy"]
    assert (results["ratios"], results["memory"]) == ([], None)
    monkeypatch.setattr(run_module, "make_peers", lambda *_: ([], [absent]))
    with pytest.raises(ValueError, match=r"none of numpy, lmdb is installed: pip install 'fdbpl\[bench\]'"):
        run_bench(parameters, tmp_path, Ui(quiet=True))


def test_the_commands_of_the_page_are_understood(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "benchmarks" / "cache.md").read_text()
    commands = re.findall(r"^\$ fdbpl bench cache(.*?)(?:#.*)?$", page, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        answer = bench(*shlex.split(command), "--dry-run", "--images", "10", temporary=tmp_path)
        assert answer.returncode == 0, answer.stderr
