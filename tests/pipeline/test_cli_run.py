"""Commands that look after a whole run on this machine: exit codes, --json, and what each does to the run."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.slurm.chain import load_chain
from fdbpl.slurm.records import read_record
from fdbpl.slurm.start import cancel_run

HOSTILE = "-a 'b' \"c\" [d] ü"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run, whose name is no comfort to shells; nothing of it is at work in the end."""
    yield tmp_path / HOSTILE
    if load_chain(tmp_path / HOSTILE) is not None:
        cancel_run(tmp_path / HOSTILE)


@pytest.fixture
def small(write_config: Any, folder: Path) -> Callable[..., Path]:
    """Writes the config of a run in that folder, of two blocks, two crops and no student unless one is given."""

    def small(**changes: Any) -> Path:
        small: dict[str, Any] = {"student": [], "crops": {"seeds": 2}, "store": {"images_per_block": 64}}
        path: Path = write_config(**{**small, **changes})
        path.write_text(path.read_text().replace('folder = "run"', f"folder = {json.dumps(HOSTILE)}", 1))
        return path

    return small


def until(found: Callable[[], Any], timeout_seconds: float = 60.0) -> Any:
    """What `found` returns once that is not false."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def ended(call: Any, *arguments: str) -> Any:
    """The answer of `status` once the run has ended."""

    def answer() -> Any:
        found = call("status", *arguments)
        return found if found.returncode != 3 else None

    return until(answer)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def told(answer: Any) -> Any:
    """The one object on stdout."""
    assert answer.stderr == "" or "error" in answer.stderr
    return json.loads(answer.stdout)


def test_a_run_goes_on_in_the_background_and_a_second_submission_computes_nothing(
    run: Any, call: Any, small: Any, folder: Path, tmp_path: Path, student_table: Any
) -> None:
    small(student=[student_table()])
    submitted = run("submit", "run.toml", "--cluster", "local", "--json")
    assert submitted.returncode == 0, submitted.stderr
    facts = told(submitted)
    assert facts["folder"] == str(folder)
    assert facts["backend"] == "local"
    assert facts["next"] == "fdbpl status run.toml --watch"
    wanted = {"prepare": 1, "teach": 2, "features": 2, "test-features": 2, "train-1": 1, "report": 1}
    assert {step["step"]: step["submitted"] for step in facts["steps"]} == wanted
    at_work = call("status", "run.toml", "--json")
    assert at_work.returncode == 3
    assert told(at_work)["standing"] == "running"

    finished = ended(call, "run.toml")
    assert finished.returncode == 0, finished.stdout
    assert "report 1/1" in " ".join(finished.stdout.replace("complete", "").split())
    status = told(call("status", "./" + HOSTILE, "--json"))
    assert {step["step"]: step["done"] for step in status["steps"]} == wanted
    assert json.loads((folder / "provenance.json").read_text())["steps"]["teach"]["attempts"] == 2
    assert (folder / "records" / "driver.log").read_text() == ""

    before = digests(folder)
    again = told(run("submit", "run.toml", "--cluster", "local", "--json"))
    assert {step["step"]: (step["submitted"], step["done"]) for step in again["steps"]} == {
        name: (0, total) for name, total in wanted.items()
    }
    assert ended(call, "run.toml").returncode == 0
    after = digests(folder)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    # The config names the backend, which was a flag.
    assert changed <= {"records/driver.json", "records/lock", "records/chain.json"}

    (log,) = told(call("logs", "run.toml", "--task", "train-1:coop-kdpl-cached-seed1", "--json"))["logs"]
    assert (log["step"], log["state"], log["attempt"], log["error"]) == ("train-1", "complete", 1, None)
    assert len(told(call("logs", "run.toml", "--json"))["logs"]) == 3
    assert "── report:report · complete · attempt 1" in call("logs", "run.toml").stdout
    assert told(call("logs", "run.toml", "--failed", "--json")) == {"groups": []}
    assert call("logs", "run.toml", "--failed").stdout == "no task has failed\n"
    (listed,) = told(call("runs", ".", "--json"))["runs"]
    assert (listed["folder"], listed["standing"], listed["backend"]) == (HOSTILE, "complete", "local")
    assert listed["command"] == "fdbpl submit run.toml --cluster local --json"
    assert HOSTILE.split()[0] in call("runs", ".").stdout
    assert told(call("cancel", "run.toml", "--json")) == {"folder": str(folder), "ended": []}


def test_cancel_ends_a_run_and_retry_completes_it(run: Any, call: Any, small: Any, folder: Path) -> None:
    """At least one of the teacher's blocks is done before the run is ended, and is not computed again."""
    small(store={"images_per_block": 4})
    assert run("submit", "run.toml", "--cluster", "local").returncode == 0
    paths = until(lambda: load_chain(folder)).paths("teach")
    blocks = [f"{number}.0" for number in range(32)]
    until(lambda: any(read_record(paths, block).state == "complete" for block in blocks))
    again = told(call("submit", "run.toml", "--cluster", "local", "--json"))
    assert sum(step["submitted"] for step in again["steps"]) == 0
    assert sum(step["attached"] for step in again["steps"]) > 0

    answer = told(call("cancel", "./" + HOSTILE, "--json"))
    assert [text.partition(" ")[0] for text in answer["ended"]] == ["process"]
    status = call("status", "run.toml", "--json")
    assert status.returncode == told(status)["exit_code"] == 75
    assert told(status)["standing"] == "stopped"
    assert told(status)["next"] == "fdbpl retry run.toml"
    done = [block for block in blocks if read_record(paths, block).state == "complete"]
    assert 0 < len(done) < 32

    retried = told(run("retry", "run.toml", "--json"))
    assert retried["backend"] == "local", "where it was begun"
    # Each of the two workers may have ended between its block and its record.
    assert len(done) <= retried["steps"][1]["done"] <= len(done) + 2
    assert ended(call, "run.toml").returncode == 0
    assert {read_record(paths, block).attempt for block in done} == {1}


def test_a_task_that_fails_is_told_with_its_cause(
    run: Any, call: Any, small: Any, folder: Path, shared: Path, tmp_path: Path
) -> None:
    shutil.copytree(shared / "world", tmp_path / "world")
    path = small(world=tmp_path / "world")
    prepare_store(read_config(path))
    train = json.loads((tmp_path / "world" / "split_world.json").read_text())["train"]
    image = tmp_path / "world" / "images" / train[100][0]
    image.write_bytes(image.read_bytes()[:300])
    submitted = run("submit", "run.toml", "--cluster", "local")
    assert "prepare: 1 done\nteach: 2 submitted\n" in submitted.stdout

    answer = ended(call, "run.toml")
    assert answer.returncode == 4
    assert "next: fdbpl logs run.toml --failed, then: fdbpl retry run.toml" in answer.stdout
    steps = {step["step"]: step for step in told(call("status", "run.toml", "--json"))["steps"]}
    assert {name: step["standing"] for name, step in steps.items()} == {
        "prepare": "complete",
        "teach": "failed",
        "test-features": "complete",
        "report": "complete",
    }
    assert (steps["teach"]["done"], steps["teach"]["failed"]) == (1, 1)
    assert (steps["teach"]["worst"]["words"], steps["teach"]["worst"]["task"]) == ("wrong input", "1.0")
    (group,) = told(call("logs", "run.toml", "--failed", "--json"))["groups"]
    assert (group["step"], group["cause"], group["tasks"]) == ("teach", "input", ["1.0"])
    assert f"image 100 ({image})" in group["logs"][0]["error"]
    shown = call("logs", "run.toml", "--failed").stdout
    assert "══ teach: wrong input: 1 tasks: 1.0" in shown
    assert f"image 100 ({image})" in shown


def test_a_run_that_ends_before_its_tasks_do_says_why(run: Any, call: Any, small: Any, folder: Path) -> None:
    """More GPUs than any machine has: known once the first task that asks for them is to begin."""
    small(cluster={"kind": "local", "steps": {"teach": {"gpus": 99}}})
    run("submit", "run.toml")
    answer = ended(call, "run.toml")
    assert answer.returncode == 75
    words = " ".join(answer.stdout.split())
    assert "the process that ran the tasks here has ended: ValueError: " in words
    assert "99" in words
