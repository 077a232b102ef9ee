"""A small run that tests share: a world of 128 training images, the shipped tiny CLIPs, four crop seeds."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline import cli
from fdbpl.pipeline.clip.tiny import unpack_tiny_checkpoints
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.datasets.world import WorldSpec, make_world
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.protocols import start as protocols_module
from fdbpl.pipeline.run import workflow as workflow_module
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.slurm.backend import Backend, LocalBackend, make_backend
from fdbpl.slurm.local_pool import LocalPool

# `bad_files`, `small_clips` and their like are within reach of the tests.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `world/` and `models/`, which no test changes."""
    folder = tmp_path_factory.mktemp("shared")
    make_world(folder / "world", spec=WorldSpec(train_per_class=4, val_per_class=0, test_per_class=2), seed=5)
    unpack_tiny_checkpoints(folder / "models")
    return folder


def _student(**changes: Any) -> dict[str, Any]:
    return {
        "model": "fdbpl-tiny-student",
        "pretrained": "models/student.safetensors",
        "shots": 2,
        "epochs": 2,
        "batch_size": 16,
        "seeds": [1],
        "optim": {"optimizer": "adam", "learning_rate": 0.005, "weight_decay": 0.0},
        **changes,
    }


def small_values(folder: str, **changes: Any) -> dict[str, Any]:
    """The config of a small run, as plain values."""
    return {
        "folder": folder,
        "data": {"name": "world", "folder": "world", "split": "split_world.json", "template": "a negative of a {}."},
        "teacher": {
            "model": "fdbpl-tiny-teacher",
            "pretrained": "models/teacher.safetensors",
            "templates": ["a picture of a {}."],
        },
        "crops": {"seeds": 4},
        "store": {"images_per_block": 48, "seeds_per_block": 2},
        "loading": {"device": "cpu", "batch_size": 64},
        "student": [_student()],
        "cluster": {"kind": "local", "max_workers": 2},
        **changes,
    }


@pytest.fixture(scope="session")
def student_table() -> Callable[..., dict[str, Any]]:
    """Makes a student table that trains for two epochs, with changes."""
    return _student


MakeConfig = Callable[..., RunConfig]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `fdbpl` in the test's folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fdbpl.pipeline.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs `fdbpl` in the test's folder and in this process, which costs no start."""
    kept = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["fdbpl", *arguments])
            patch.setattr(cli.app, "registered_commands", list(cli.app.registered_commands))
            patch.setattr(cli.app, "registered_groups", list(cli.app.registered_groups))
            for name, value in environment.items():
                patch.setenv(name, value)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                cli.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err)

    yield call
    signal.signal(signal.SIGTERM, kept)


def as_toml(values: Mapping[str, Any], path: str = "") -> str:
    """Plain values as a TOML file."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lists = {
        key: value for key, value in values.items() if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key not in tables | lists]
    for key, table in tables.items():
        lines += [f"[{path}{key}]", as_toml(table, f"{path}{key}.")]
    for key, several in lists.items():
        for table in several:
            lines += [f"[[{path}{key}]]", as_toml(table, f"{path}{key}.")]
    return "\n".join(lines)


@pytest.fixture
def write_config(shared: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes the config of a small run, with changes, as run.toml in the test's folder; the run's folder is `run`."""

    def write(**changes: Any) -> Path:
        values = small_values("run", **changes)
        values["data"]["folder"] = str(changes.get("world", shared / "world"))
        values.pop("world", None)
        for model in (values["teacher"], *values["student"]):
            model["pretrained"] = str(shared / model["pretrained"])
        path = tmp_path / "run.toml"
        path.write_text(as_toml(values))
        return path

    return write


@pytest.fixture
def make_config(shared: Path, tmp_path: Path) -> MakeConfig:
    """Configs of runs in the test's own folder, over the shared world and models."""

    def make(**changes: Any) -> RunConfig:
        return parse_config(small_values(str(tmp_path / "run"), **changes), base=shared, where="test")

    return make


@pytest.fixture(scope="session", autouse=True)
def kept_workers() -> Iterator[None]:
    """Runs of this process share the workers of one pool, as a command's steps do: each start loads torch anew."""
    pool = LocalPool(2)

    def make(kind: str, *, max_workers: int | None = None) -> Backend:
        made = make_backend(kind, max_workers=max_workers)
        return replace(made, pool=pool) if isinstance(made, LocalBackend) and max_workers == 2 else made

    with pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow_module, "make_backend", make)
        patch.setattr(protocols_module, "make_backend", make)
        yield


@pytest.fixture(scope="session")
def taught(shared: Path) -> RunConfig:
    """A finished small run whose store is sealed, student features too; tests read it and leave it as it is."""
    config = parse_config(small_values(str(shared / "taught")), base=shared, where="test")
    with Workflow(config, Ui(quiet=True), command="fdbpl teach") as workflow:
        workflow.teach()
        workflow.features()
    return config


@pytest.fixture
def two_stages() -> list[dict[str, Any]]:
    """Three students, and three that start from them."""
    first = _student(name="first", seeds=[1, 2, 3])
    return [first, _student(name="second", starts_from="first", objective="fdbpl", seeds=[1, 2, 3])]


@pytest.fixture
def on_slurm() -> Callable[..., dict[str, Any]]:
    """Changes of a config for a small cluster: twelve blocks, each a job of its own in the teacher pass; elsewhere
    several tasks share a job."""

    def changes(**cluster: Any) -> dict[str, Any]:
        steps = {"teach": {"per_job": 1}, "features": {"per_job": 6}, "check": {"memory_gb": 1}}
        small = {"max_workers": 4, "memory_gb": 1, "minutes": 5, "per_job": 3, "steps": steps}
        store = {"images_per_block": 22, "seeds_per_block": 2}
        return {"store": store, "cluster": {**small, "slurm": {"signal_delay_seconds": 5}, **cluster}}

    return changes


@pytest.fixture
def finished(run: Run) -> Callable[..., dict[str, Any]]:
    """Waits until nothing of the run in the test's folder waits or runs any more; its state then."""

    def wait(timeout_seconds: float = 420.0) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = run("status", "run.toml", "--json")
            status: dict[str, Any] = json.loads(answer.stdout)
            assert answer.returncode == status["exit_code"]
            if answer.returncode != 3:
                return status
            assert time.monotonic() < deadline, run("status", "run.toml").stdout
            time.sleep(1)

    return wait


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """Tells every file below a folder, by the digest of its content."""

    def digests(folder: Path) -> dict[str, str]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return digests
