"""The program from outside: exit codes, --json, and one clear message for each wrong input."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def world(shared: Path, tmp_path: Path, run: Run) -> Path:
    """The test's folder with a world, models, and a config of the tiny preset."""
    shutil.copytree(shared / "world", tmp_path / "world")
    shutil.copytree(shared / "models", tmp_path / "models")
    assert run("init", "--preset", "tiny").returncode == 0
    return tmp_path


def test_init_writes_once(run: Run, tmp_path: Path) -> None:
    first = run("init", "a.toml", "--json")
    assert json.loads(first.stdout) == {"config": "a.toml", "preset": "base-to-new", "data": None, "fitted": []}
    content = (tmp_path / "a.toml").read_text()
    again = run("init", "a.toml")
    assert again.returncode == 2
    assert "found a.toml already" in again.stderr
    assert (tmp_path / "a.toml").read_text() == content


def test_every_command_has_help(run: Run) -> None:
    for command in (
        "",
        "demo",
        "init",
        "doctor",
        "teach",
        "features",
        "train",
        "evaluate",
        "world make",
        "cache info",
        "bench cache",
    ):
        answer = run(*command.split(), "--help")
        assert answer.returncode == 0, command
        assert "Usage" in answer.stdout
        if command not in ("",):
            assert "--json" in answer.stdout


def test_json_is_one_object_on_stdout_and_nothing_else(world: Path, run: Run) -> None:
    taught = run("teach", "fdbpl.toml", "--set", "crops.seeds=2", "--json")
    assert taught.returncode == 0, taught.stderr
    assert taught.stderr == ""
    facts = json.loads(taught.stdout)
    assert facts["views_computed"] == facts["views"] == 256
    info = json.loads(run("cache", "info", "run/store.zarr", "--json").stdout)
    assert info["fingerprint"] == facts["fingerprint"]
    assert {array["name"]: array["bytes_per_view"] for array in info["arrays"]} == {
        "crop/box": 16,
        "crop/flip": 1,
        "teacher/embedding": info["arrays"][2]["bytes_per_view"],
        "teacher/logits": 64,
    }
    assert [array["gb_per_million_views"] for array in info["arrays"]][-1] == 0.064
    assert sorted(info["labels"]) == ["embedding", "logits"]
    assert info["labels"]["logits"].startswith("probabilities within 0.00053 over 32 classes; ")
    shown = " ".join(run("cache", "info", "run/store.zarr").stdout.split())
    assert "logits: probabilities within 0.00053 over 32 classes" in shown
    campaign = info["campaigns"]["teacher"]
    assert campaign == campaign | {"images": 128, "seeds": 2, "blocks": 1, "blocks_present": 1, "sealed": True}
    assert info["bytes_on_disk"] == campaign["bytes"] > 256 * info["bytes_per_view"]


def edit_split(world: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = world / "world" / "split_world.json"
    split = json.loads(path.read_text())
    change(split)
    path.write_text(json.dumps(split))


def class_name_twice(world: Path) -> None:
    """Two labels of one name: their columns could not be told apart."""

    def rename(split: dict[str, Any]) -> None:
        names = sorted({entry[2] for entry in split["train"]})
        for part in split.values():
            for entry in part:
                entry[2] = names[0] if entry[2] == names[1] else entry[2]

    edit_split(world, rename)


def no_data(world: Path) -> None:
    shutil.rmtree(world / "world")


def swapped_models(world: Path) -> None:
    shutil.copy(world / "models" / "student.safetensors", world / "models" / "teacher.safetensors")


def image_gone(world: Path) -> None:
    split = json.loads((world / "world" / "split_world.json").read_text())
    (world / "world" / "images" / split["train"][5][0]).unlink()


def nothing(world: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("break_it", "arguments", "message"),
    [
        (nothing, ["teach", "fdbpl.toml", "--set", "crops.sedes=2"], "did you mean 'seeds'"),
        (nothing, ["teach", "none.toml"], "fdbpl init none.toml"),
        (nothing, ["teach", "fdbpl.toml", "--set", "teacher.model=ViT-B-23"], "ViT-B-32"),
        (nothing, ["teach", "fdbpl.toml", "--set", "teacher.pretrained=none.pt"], "expected an existing checkpoint"),
        (nothing, ["teach", "fdbpl.toml", "--set", "teacher.templates=['a photo']"], "exactly one {}"),
        (nothing, ["teach", "fdbpl.toml", "--set", "loading.device=cuda"], "no usable GPU"),
        (nothing, ["train", "fdbpl.toml"], "fdbpl teach"),
        (nothing, ["train", "fdbpl.toml", "--set", "student.0.shots=9"], "class 0 has 4"),
        (nothing, ["cache", "info", "none.zarr"], "found no store at"),
        (nothing, ["init", "--preset", "huge"], "base-to-new, cross-dataset, domain-generalisation"),
        (nothing, ["init", "none/fdbpl.toml"], "found no folder none"),
        (nothing, ["teach", "fdbpl.toml", "--clutser", "local"], "--clutser"),
        (no_data, ["teach", "fdbpl.toml"], "world"),
        (class_name_twice, ["teach", "fdbpl.toml"], "twice"),
        (swapped_models, ["teach", "fdbpl.toml"], "do not load into fdbpl-tiny-teacher"),
        (image_gone, ["teach", "fdbpl.toml"], "image 5"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_wrong_input_is_told_and_nothing_is_written(
    break_it: Callable[[Path], None], arguments: list[str], message: str, world: Path, call: Run
) -> None:
    break_it(world)
    before = sorted(world.rglob("*"))
    answer = call(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    # What the scan of good images has found is kept, and so is its list of bad ones.
    found = [world / "run", world / "run" / "bad-images.tsv"] if break_it is image_gone else []
    assert sorted(path for path in world.rglob("*") if "scan" not in path.parts) == sorted([*before, *found])


@pytest.mark.slow
def test_stopped_by_a_signal_it_keeps_what_is_complete_and_says_how_to_go_on(world: Path, run: Run) -> None:
    arguments = ["teach", "fdbpl.toml", "--set", "store.images_per_block=8", "--set", "crops.seeds=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fdbpl.pipeline.cli", *arguments], cwd=world, stderr=subprocess.PIPE, text=True
    )
    done = world / "run" / "store.zarr" / ".records" / "teacher"
    deadline = time.monotonic() + 120
    while not list(done.glob("[0-9]*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "To go on: fdbpl teach fdbpl.toml --set store.images_per_block=8" in errors
    kept = len(list(done.glob("[0-9]*")))
    assert kept > 0
    facts = json.loads(run(*arguments, "--json").stdout)
    assert facts["views_computed"] == facts["views"] - kept * 16


def test_an_error_in_json_is_an_object_too(world: Path, run: Run) -> None:
    answer = run("teach", "none.toml", "--json")
    assert answer.returncode == 2
    assert "found no config file" in json.loads(answer.stdout)["error"]


def test_debug_shows_the_traceback(run: Run) -> None:
    assert "Traceback" in run("--debug", "teach", "none.toml").stderr


def test_doctor_finds_what_is_installed(run: Run) -> None:
    answer = run("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(answer.stdout)["findings"]}
    assert answer.returncode == 0, answer.stdout
    assert {found[name]["state"] for name in ("torch", "zarr", "tiny models", "dali decoder", "disk")} == {"ok"}
    without_slurm = json.loads(run("doctor", "--json", PATH="/nowhere").stdout)
    slurm = next(finding for finding in without_slurm["findings"] if finding["name"] == "Slurm")
    assert slurm["state"] == "optional"
    assert slurm["mend"]
