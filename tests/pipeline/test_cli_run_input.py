"""Commands that look after a whole run: what is wrong is told in one message, and nothing is started."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.run.steps import run_chain
from fdbpl.slurm.backend import choose_kind
from fdbpl.slurm.chain import chain_file
from fdbpl.slurm.local_driver import local_driver


@pytest.fixture
def submitted(write_config: Callable[..., Path], tmp_path: Path) -> Path:
    """The folder of a run that was submitted, and of which nothing has begun."""
    run_chain(read_config(write_config())).save()
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["status", "run.toml"],
            "found nothing submitted in {run}, expected {run}/records/chain.json: `fdbpl sub",
        ),
        (["status", "models"], "`fdbpl submit CONFIG` begins a run"),
        (["status", "none.toml"], "found nothing at none.toml, expected a run's config file or its folder"),
        (["status", "other.toml"], "other.toml: found no `folder = …` in it"),
        (["status", "broken.toml"], "broken.toml: found no `folder = …` in it"),
        (["logs", "run.toml"], "found nothing submitted in {run}"),
        (["retry", "run.toml"], "found nothing submitted in {run}"),
        (["cancel", "run.toml"], "found nothing submitted in {run}"),
        (["plan", "none.toml"], "found no config file at none.toml"),
        (["plan", "run.toml", "--rate", "tech=3"], "found --rate 'tech=3', expected STEP=NUMBER such as teach=800"),
        (["plan", "run.toml", "--profile", "bonn"], "found no profile 'bonn', expected one of "),
        (["plan", "run.toml", "--set", "cluster.slurm.partiton=a"], "key partiton (did you mean 'partition'?)"),
        (
            ["plan", "run.toml", "--set", "cluster.steps.teach.gpu=1"],
            "steps.teach: found the unknown key 'gpu'",
        ),
        (["plan", "run.toml", "--set", "student.0.shots=9"], "class 0 has 4"),
        (["submit", "run.toml", "--cluster", "moon"], "cluster.kind: found 'moon'"),
        (["submit", "run.toml", "--set", "teacher.pretrained=none.pt"], "expected an existing checkpoint"),
        (["submit", "run.toml", "--set", 'folder="a\\nb"'], "expected no line break in it"),
        (["show-script", "run.toml", "--step", "tech"], "found --step tech, expected one of prepare, teach, features"),
        (["runs", "none"], "found no folder none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_told_and_nothing_is_written(
    call: Any, write_config: Callable[..., Path], tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_config()
    (tmp_path / "models").mkdir()
    (tmp_path / "other.toml").write_text("a = 1\n")
    (tmp_path / "broken.toml").write_text("folder = \n")
    before = sorted(tmp_path.rglob("*"))
    answer = call(*arguments)
    assert answer.returncode == 2, answer.stdout
    assert message.format(run=tmp_path / "run") in answer.stderr
    assert answer.stdout == ""
    with_json = call(*arguments, "--json")
    assert with_json.returncode == json.loads(with_json.stdout)["exit_code"] == 2
    assert message.format(run=tmp_path / "run") in json.loads(with_json.stdout)["error"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logs", "run.toml", "--task", "0.0"], "found no task '0.0' that was submitted, expected one of: none yet"),
        (["retry", "run.toml", "--cluster", "moon"], "found 'moon', expected 'auto', 'local' or 'slurm'"),
        (["show-script", "run", "--step", "tech"], "found --step tech, expected one of prepare, teach, features"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_about_a_run_that_is_there(call: Any, submitted: Path, arguments: list[str], message: str) -> None:
    answer = call(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert message in answer.stderr
    assert [path.name for path in (submitted / "records").iterdir()] == ["chain.json"]


def test_a_run_of_which_nothing_has_begun(call: Any, submitted: Path) -> None:
    for where in ("run.toml", "run", str(submitted)):
        status = call("status", where, "--json")
        assert status.returncode == 75
        assert json.loads(status.stdout)["next"] == f"fdbpl retry {where}"
    assert call("logs", "run.toml").stdout == "no task has begun yet\n"
    assert call("cancel", "run.toml").stdout == "ended: nothing was at work\n"


def test_without_slurm_there_is_no_script_to_show(call: Any, write_config: Any, tmp_path: Path) -> None:
    write_config()
    answer = call("show-script", "run.toml", PATH="/nowhere")
    assert answer.returncode == 2
    assert "found no script of teach that was submitted, and none can be made here: " in answer.stderr
    assert "srun" in answer.stderr
    asked = call("submit", "run.toml", "--cluster", "slurm", PATH="/nowhere")
    assert asked.returncode == 2
    assert "Slurm cannot be used from here" in asked.stderr
    assert not (tmp_path / "run" / "records").exists()


def test_a_script_that_would_be_submitted_is_shown(call: Any, write_config: Any, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    write_config(cluster={"kind": "local", "slurm": {"partition": "long"}})
    shown = call("show-script", "run.toml", PATH=str(program.parent))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert {"#SBATCH --array=0-5%2", "#SBATCH --partition=long"} <= set(shown.stdout.splitlines())
    assert not (tmp_path / "run").exists()


def test_the_newest_script_that_was_submitted_is_shown(call: Any, submitted: Path) -> None:
    folder = submitted / "records" / "teach" / "submitit"
    folder.mkdir(parents=True)
    (folder / "8_submission.sh").write_text("#!/bin/sh\necho new\n")
    (folder / "9_submission.sh").write_text("#!/bin/sh\necho old\n")
    os.utime(folder / "9_submission.sh", (1, 1))
    shown = call("show-script", "run.toml", "--json", PATH="/nowhere")
    assert json.loads(shown.stdout) == {
        "step": "teach",
        "submitted": str(folder / "8_submission.sh"),
        "script": "#!/bin/sh\necho new\n",
    }


def test_a_plan_is_one_object_and_writes_nothing(call: Any, write_config: Any, tmp_path: Path) -> None:
    write_config()
    before = sorted(tmp_path.rglob("*"))
    answer = call("plan", "run.toml", "--rate", "teach=32", "--json", PATH="/nowhere")
    assert (answer.returncode, answer.stderr) == (0, "")
    planned = json.loads(answer.stdout)
    assert {"backend", "reason", "steps", "bytes", "fits", "unknown"} <= planned.keys()
    assert planned["backend"] == "local" == choose_kind("local")[0]
    assert {(step["script"], step["slurm"]) for step in planned["steps"]} == {("", None)}
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_at_work_in_the_folder_is_not_mixed_with(
    call: Any, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_driver(submitted):
        other = call("submit", "run.toml", "--set", "crops.seeds=2")
        assert other.returncode == 2
        assert f"{submitted}: found process {os.getpid()} at work, for another config, expected none: " in other.stderr
        attached = call("submit", "run.toml", "--json")
        assert json.loads(attached.stdout)["reason"] == f"asked for; process {os.getpid()}"
        monkeypatch.setattr("fdbpl.pipeline.run.submit.choose_kind", lambda kind: ("slurm", "asked for"))
        elsewhere = call("retry", "run.toml")
        assert elsewhere.returncode == 2
        assert f"found process {os.getpid()} at work, without Slurm, expected none: " in elsewhere.stderr
    monkeypatch.setattr("fdbpl.pipeline.run.submit.choose_kind", lambda kind: ("local", "asked for"))
    monkeypatch.setattr("fdbpl.slurm.start.living_arrays", lambda chain, patience_seconds: {"12", "9"})
    queued = call("retry", "run.toml")
    assert queued.returncode == 2
    assert "found jobs of this run in Slurm's queue (9, 12), expected none: " in queued.stderr
    assert not (submitted / "records" / "provenance.json").exists()


def test_a_plan_says_how_to_submit_what_was_planned(call: Any, write_config: Any) -> None:
    write_config()
    changes = ["--set", "data.template=a b {}.", "--set", "crops.seeds=2", "--cluster", "local"]
    answer = call("plan", "run.toml", *changes)
    arguments = "run.toml --set 'data.template=a b {}.' --set crops.seeds=2 --cluster local"
    assert answer.stdout.rstrip().endswith(f"next: fdbpl submit {arguments}")


def test_a_run_whose_folder_was_overridden_is_named_by_its_folder(call: Any, write_config: Any, tmp_path: Path) -> None:
    path = write_config()
    other = read_config(path, ("folder=other",))
    run_chain(other).save()
    with local_driver(tmp_path / "other"):
        submitted = call("submit", "run.toml", "--set", "folder=other", "--json")
        assert json.loads(submitted.stdout)["next"] == f"fdbpl status {tmp_path}/other --watch"
    assert call("status", str(tmp_path / "other")).returncode == 75


def test_a_config_whose_name_begins_with_a_dash(call: Any, write_config: Any, tmp_path: Path) -> None:
    """What is to be typed next must be taken for a file, too."""
    write_config().rename(tmp_path / "-my run.toml")
    planned = call("plan", "--", "-my run.toml")
    assert planned.stdout.rstrip().endswith("next: fdbpl submit './-my run.toml'")
    assert "(fdbpl plan './-my run.toml' --measure)" in planned.stdout
    answer = call("status", "./-my run.toml")
    assert "`fdbpl submit './-my run.toml'` begins a run" in answer.stderr
    run_chain(read_config(tmp_path / "-my run.toml")).save()
    assert json.loads(call("status", "--json", "./-my run.toml").stdout)["next"] == "fdbpl retry './-my run.toml'"
    assert chain_file(tmp_path / "run").exists()
