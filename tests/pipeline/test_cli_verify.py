"""`fdbpl cache verify`, `repair` and `seal` from outside: what they say, and their exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.writer import write_block

Run = Callable[..., subprocess.CompletedProcess[str]]
SPECS = {
    "teacher": [
        ArraySpec(name="teacher/logits", row_shape=(3,), dtype="float16"),
        ArraySpec(name="teacher/embedding", row_shape=(4,), dtype="float16"),
    ]
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `fdbpl cache` in the test's folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fdbpl.pipeline.cli", "cache", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store that is written and not sealed, with embeddings that are not unit vectors."""
    images = ImageIndex(
        paths=tuple(f"cat/{number}.jpg" for number in range(6)),
        sizes_N2=np.full((6, 2), 9),
        digests_N32=np.zeros((6, 32), np.uint8),
        labels_N=np.zeros(6, int),
    )
    sizes = {"num_seeds": 2, "images_per_block": 4, "seeds_per_block": 2}
    path = tmp_path / "store.zarr"
    create_store(path, manifest=Manifest({"a": 1}), images=images, class_lists=[], campaigns=SPECS, **sizes)
    write_missing(path)
    return path


def write_missing(path: Path) -> None:
    store = open_store(path)
    for block in store.missing_blocks("teacher"):
        shape = (len(block.images), len(block.seeds))
        rows = {spec.name: np.full((*shape, *spec.row_shape), 2, spec.dtype) for spec in SPECS["teacher"]}
        write_block(store, "teacher", block, rows)


def test_from_damage_to_a_whole_store(store: Path, run: Run) -> None:
    sealed = json.loads(run("seal", "store.zarr", "--json").stdout)
    assert (sealed["campaigns"], sealed["num_files"]) == (["teacher"], 4)
    assert "teacher sealed, 4 files" in run("seal", "store.zarr", "--campaign", "teacher").stdout

    good = run("verify", "store.zarr", "--no-unit-norm")
    assert good.returncode == 0, good.stderr
    assert "4 files" in good.stdout and "sound" in good.stdout and "MB/s" in good.stderr

    not_unit = run("verify", "store.zarr")
    assert not_unit.returncode == 1
    assert "not_unit" in not_unit.stdout and "teacher/embedding/c.0.0.0" in not_unit.stdout

    (store / "teacher/logits/c.1.0.0").unlink()
    path = store / "teacher/embedding/c.0.0.0"
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    bad = run("verify", "store.zarr", "--no-unit-norm", "--jobs", "1", "--fresh")
    assert bad.returncode == 1
    for word in ("missing", "damaged", "teacher/logits/c.1.0.0", "teacher/embedding/c.0.0.0", "cat/0.jpg", "repair"):
        assert word in bad.stdout, word
    report = run("verify", "store.zarr", "--no-unit-norm", "--json")
    assert (report.returncode, report.stderr) == (1, "")
    assert [finding["views"] for finding in json.loads(report.stdout)["findings"]] == [4, 4]
    (store.parent / "report.json").write_text(report.stdout)

    planned = run("repair", "store.zarr", "--no-unit-norm", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "2 blocks would be withdrawn: 0.0, 1.0" in planned.stdout
    assert not open_store(store).campaign("teacher").withdrawn
    done = run("repair", "store.zarr", "--from-report", "report.json", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["withdrawn"], facts["next"]) == ({"teacher": ["0.0", "1.0"]}, ["fdbpl teach CONFIG"])
    assert "nothing to repair" in run("repair", "store.zarr", "--no-unit-norm").stdout

    early = run("seal", "store.zarr")
    assert early.returncode == 2 and "block 0.0: no done-record" in early.stderr
    waiting = run("verify", "store.zarr", "--no-unit-norm", "--campaign", "teacher")
    assert waiting.returncode == 0 and "incomplete" in waiting.stdout
    write_missing(store)
    assert json.loads(run("seal", "store.zarr", "--json").stdout)["digest"] == sealed["digest"]
    assert run("verify", "store.zarr", "--no-unit-norm").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "none.zarr"], "found no store at"),
        (["verify", "store.zarr", "--campaign", "student"], "no campaign 'student'"),
        (["verify", "store.zarr", "--jobs", "0"], "--jobs"),
        (["repair", "store.zarr", "--from-report", "none.json"], "none.json: found no report"),
        (["repair", "store.zarr", "--from-report", "store.zarr/zarr.json"], "found no report"),
        (["seal", "none.zarr"], "found no store at"),
    ],
)
def test_wrong_input_is_told(arguments: list[str], message: str, store: Path, run: Run) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr and "Traceback" not in answer.stderr


def test_what_cannot_be_repaired_is_an_exit_code_of_its_own(store: Path, run: Run) -> None:
    assert run("seal", "store.zarr").returncode == 0
    (store / "images/0/label/c.0").unlink()
    answer = run("repair", "store.zarr", "--no-unit-norm")
    assert answer.returncode == 1
    assert "left: images/0" in answer.stdout and "from a copy" in answer.stdout
