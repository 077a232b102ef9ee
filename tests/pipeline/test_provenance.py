"""Where results come from, and which runs lie in a folder."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.run.listing import find_runs, show_runs
from fdbpl.pipeline.run.provenance import last_submission, note_submission, provenance, provenance_file
from fdbpl.pipeline.versions import code_revision, git_revision
from fdbpl.slurm.chain import Chain, Step, chain_file
from fdbpl.slurm.journal import Journal, Submission, write_journal
from fdbpl.slurm.records import TaskRecord, write_record
from fdbpl.slurm.resources import Resources


def begin(folder: Path, *, command: str = "fdbpl submit run.toml") -> Chain:
    """A run of one step, two of whose three tasks are done."""
    step = Step(name="teach", function="os:getcwd", todo="os:getcwd")
    chain = Chain(folder=folder, steps=(step,), environment={"A": "b"})
    chain.save()
    submission = Submission(
        name="teach-1",
        array="7",
        bundles=(("a", "b"), ("c",)),
        round=1,
        attempts_before={"a": 0, "b": 0, "c": 0},
        resources=Resources(),
    )
    second = Submission(
        **{**vars(submission), "name": "teach-2", "array": "", "bundles": (("b",),), "attempts_before": {"b": 0}}
    )
    paths = chain.paths("teach")
    write_journal(paths, Journal(total=3, is_finished=True, submissions=(submission, second)))
    done = {"state": "complete", "host": "n1", "result": {"device": "H100"}}
    write_record(paths, TaskRecord(task_id="a", attempt=1, started=100.0, ended=110.0, **done))  # type: ignore[arg-type]
    write_record(paths, TaskRecord(task_id="b", attempt=2, started=105.0, ended=107.5, **done))  # type: ignore[arg-type]
    note_submission(chain, command=command, backend="local")
    return chain


def test_who_submitted_what_with_which_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_submission(tmp_path) == {}
    monkeypatch.setenv("USER", "ada")
    chain = begin(tmp_path, command="fdbpl submit 'my run.toml'")
    note_submission(chain, command="fdbpl retry .", backend="slurm")
    first, second = provenance(tmp_path)["submissions"]
    assert second == last_submission(tmp_path)
    assert (first["command"], first["backend"]) == ("fdbpl submit 'my run.toml'", "local")
    assert (second["command"], second["backend"]) == ("fdbpl retry .", "slurm")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["time"])
    assert (first["user"], first["steps"], first["environment"]) == ("ada", ["teach"], {"A": "b"})
    assert {"torch", "numpy", "zarr"} <= set(first["versions"])
    assert first["python"].count(".") == 2


def test_where_the_tasks_of_a_step_ran(tmp_path: Path) -> None:
    begin(tmp_path)
    assert provenance(tmp_path)["steps"] == {
        "teach": {
            "jobs": ["7"],
            "nodes": {"n1": 2},
            "devices": {"H100": 2},
            "tasks": 2,
            "attempts": 3,
            "task_seconds": 12.5,
            "started": 100.0,
            "ended": 110.0,
        }
    }


def test_of_a_folder_without_a_run_nothing_is_known(tmp_path: Path) -> None:
    assert provenance(tmp_path) == {"submissions": [], "steps": {}}
    assert not provenance_file(tmp_path).exists()


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision(tmp_path) is None

    def git(*arguments: str) -> str:
        who = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, env={**os.environ, **who}, capture_output=True, text=True, check=True).stdout

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD").strip()
    assert git_revision(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == f"{commit}-dirty"
    monkeypatch.setenv("PATH", "/nowhere")
    assert git_revision(tmp_path) is None


def test_an_installed_package_does_not_name_the_work_tree_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ".venv" / "fdbpl"
    place.mkdir(parents=True)
    who = ["-c", "user.name=x", "-c", "user.email=x"]
    for arguments in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    assert git_revision(place) is not None
    monkeypatch.setattr("fdbpl.pipeline.versions._ROOT", place)
    assert code_revision() is None


def test_runs_are_found_below_a_folder_the_latest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["2026-01-02", "2026-01-03", "2026-01-01", "2026-01-04"])
    monkeypatch.setattr("fdbpl.pipeline.run.provenance.time.strftime", lambda *_: next(times))
    for name in ("a", "b/run", "b/c/d", "b/c/e/f"):  # the last one lies too deep
        begin(tmp_path / name)
    begin_inside = tmp_path / "a" / "students" / "x"
    begin_inside.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    found = find_runs(tmp_path)
    assert [Path(run["folder"]).relative_to(tmp_path).as_posix() for run in found] == ["b/run", "a", "b/c/d"]
    first = found[0]
    assert (first["standing"], first["steps"]) == ("complete", {"teach": [2, 3]})
    assert (first["submitted"], first["command"], first["backend"]) == ("2026-01-03", "fdbpl submit run.toml", "local")
    assert [run["folder"] for run in find_runs(tmp_path / "a")] == [str(tmp_path / "a")]
    with pytest.raises(ValueError, match="found no folder"):
        find_runs(tmp_path / "none")


@pytest.mark.parametrize("content", ["", "{}", '{"steps": 3}', '{"steps": [], "future": 1}'])
def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path, content: str) -> None:
    begin(tmp_path / "good")
    broken = begin(tmp_path / "broken")
    chain_file(broken.folder).write_text(content)
    found = {Path(run["folder"]).name: run["standing"] for run in find_runs(tmp_path)}
    assert found == {"good": "complete", "broken": "unknown: its records cannot be read"}


def test_folders_of_others_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path / "mine")
    begin(tmp_path / "theirs")
    exists = Path.exists

    def refused(path: Path) -> bool:
        if "theirs" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)
    assert [Path(run["folder"]).name for run in find_runs(tmp_path)] == ["mine"]


def test_the_table_of_runs_shows_names_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run: dict[str, Any] = {
        "folder": "[red]a[/b]",
        "standing": "failed",
        "steps": {"teach": [1, 3], "report": [0, 0]},
        "submitted": None,
        "backend": None,
        "code": "0123456789abcdef",
    }
    show_runs({"runs": [run]})
    assert capsys.readouterr().out.splitlines()[-2].split() == [
        "[red]a[/b]",
        "failed",
        "teach",
        "1/3",
        "-",
        "-",
        "01234567",
    ]
