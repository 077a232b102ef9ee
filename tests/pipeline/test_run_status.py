"""How a run stands, as people and scripts are told; and what its tasks have printed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run.logs import failed_logs, latest_logs, task_logs
from fdbpl.pipeline.run.state import CONFIG_VARIABLE
from fdbpl.pipeline.run.status import describe, duration, show_status
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.chain_status import chain_status
from fdbpl.slurm.journal import Journal, Submission, read_journal, write_journal
from fdbpl.slurm.local_driver import local_driver
from fdbpl.slurm.records import Progress, TaskError, TaskRecord, write_record
from fdbpl.slurm.resources import Resources

Submit = Callable[..., None]
WRONG = TaskError(type="ValueError", message="image 7 (a.jpg) is no image", traceback="…", bases=("Exception",))


def step(name: str, *after: str) -> Step:
    return Step(name=name, function="os:getcwd", todo="os:getcwd", after=after, unit="views")


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """Three steps of a run that was begun here."""
    made = Chain(
        folder=tmp_path, steps=(step("teach"), step("train-1", "teach"), step("report")), fatal=("ValueError",)
    )
    made.save()
    return made


@pytest.fixture
def submit(chain: Chain) -> Submit:
    """Writes down that tasks of a step were submitted here, with the records that they have left."""

    def submit(name: str, *records: TaskRecord, total: int | None = None, is_finished: bool = False) -> None:
        tasks = tuple(record.task_id for record in records)
        submission = Submission(
            name=f"{name}-1",
            array="",
            bundles=tuple((task,) for task in tasks),
            round=1,
            attempts_before=dict.fromkeys(tasks, 0),
            resources=Resources(),
        )
        paths = chain.paths(name)
        submissions = (submission,) if tasks else ()
        total = len(tasks) if total is None else total
        write_journal(paths, Journal(total=total, is_finished=is_finished, submissions=submissions))
        for record in records:
            log = paths.log(record.task_id, 1)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("".join(f"{record.task_id} line {number}\n" for number in range(50)))
            write_record(paths, replace(record, attempt=1, log=paths.relative(log)))

    return submit


def complete(task: str, **changes: Any) -> TaskRecord:
    return TaskRecord(task_id=task, state="complete", **changes)


def failed(task: str, error: TaskError = WRONG, **changes: Any) -> TaskRecord:
    return TaskRecord(task_id=task, state="failed", error=error, **changes)


def told(chain: Chain, typed: str = "run.toml") -> dict[str, Any]:
    return describe(chain_status(chain), str(chain.folder), typed)


def screen(described: dict[str, Any], width: int = 120) -> str:
    console = Console(width=width, record=True, markup=False, file=None)
    with console.capture() as captured:
        console.print(show_status(described))
    return captured.get()


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


@pytest.mark.parametrize(
    ("records", "finished", "standing", "code", "then"),
    [
        ([complete("a")], True, "complete", 0, "fdbpl report 'my run'"),
        ([complete("a"), failed("b")], False, "failed", 4, "fdbpl logs 'my run' --failed, then: fdbpl retry 'my run'"),
        ([TaskRecord(task_id="a", state="stopped")], False, "stopped", 75, "fdbpl retry 'my run'"),
        ([], False, "waiting", 75, "fdbpl retry 'my run'"),
    ],
)
def test_standing_exit_code_and_what_to_type_next(
    tmp_path: Path, records: list[TaskRecord], finished: bool, standing: str, code: int, then: str
) -> None:
    chain = Chain(folder=tmp_path / "a b", steps=(step("teach"),))
    tasks = tuple(record.task_id for record in records)
    submission = Submission(
        name="x",
        array="",
        bundles=(tasks,),
        round=1,
        attempts_before=dict.fromkeys(tasks, 0),
        resources=Resources(),
    )
    submissions = (submission,) if records else ()
    write_journal(chain.paths("teach"), Journal(total=2, is_finished=finished, submissions=submissions))
    for record in records:
        write_record(chain.paths("teach"), replace(record, attempt=1))
    found = told(chain, "my run")
    assert (found["standing"], found["exit_code"]) == (standing, code)
    assert found["next"] == then.format(folder=chain.folder)
    with local_driver(chain.folder):
        at_work = told(chain, "my run")
    expected = ("running", 3)
    assert (at_work["standing"], at_work["exit_code"]) == expected
    assert finished or at_work["next"] == "fdbpl status 'my run' --watch"


def test_a_run_that_goes_on(chain: Chain, submit: Submit) -> None:
    half = Progress(done=50, total=100)
    submit(
        "teach",
        complete("a", started=1000.0, ended=1010.0),
        TaskRecord(task_id="b", state="running", started=1000.0, updated=1010.0, progress=half),
        TaskRecord(task_id="c"),
        total=10,
    )
    with local_driver(chain.folder):
        teach, train, _ = told(chain)["steps"]
        shown = screen(told(chain))
    numbers = {key: teach[key] for key in ("total", "done", "running", "pending", "failed", "stopped")}
    assert numbers == {"total": 10, "done": 8, "running": 1, "pending": 1, "failed": 0, "stopped": 0}
    assert (teach["rate"], teach["unit"], teach["seconds_left"], teach["worst"]) == (5, "views", 30, None)
    assert (train["standing"], train["total"]) == ("waiting", 0)
    assert row(shown, "teach") == ["teach", "running", "8/10", "1", "1", "5", "views/s", "30", "s"]
    assert row(shown, "train-1") == ["train-1", "waiting", "0", "-", "-"]
    assert shown.splitlines()[-2:] == [f"{chain.folder}: running", "next: fdbpl status run.toml --watch"]


def test_the_most_frequent_cause_is_told_in_words(chain: Chain, submit: Submit) -> None:
    killed = TaskError(type="SIGKILL", message="killed")
    submit("teach", failed("a", killed), failed("b"), failed("c"), complete("d"))
    teach = told(chain)["steps"][0]
    assert teach["worst"] == {
        "cause": "input",
        "words": "wrong input",
        "tasks": 2,
        "task": "b",
        "type": "ValueError",
        "message": "image 7 (a.jpg) is no image",
        "log": "records/teach/logs/b.1.log",
    }
    shown = screen(told(chain), width=500).splitlines()
    assert "teach: wrong input: 2 tasks, such as b" in shown
    assert "  ValueError: image 7 (a.jpg) is no image" in shown
    assert f"  log: {chain.folder}/records/teach/logs/b.1.log" in shown


def test_brackets_of_an_error_are_shown_as_they_are(chain: Chain, submit: Submit) -> None:
    submit("teach", failed("a", TaskError(type="KeyError", message="found [bold]x[/nothing]\n" * 20)))
    shown = screen(told(chain))
    assert "  KeyError: found [bold]x[/nothing]" in shown
    assert shown.count("[bold]") == 6, "a long message is cut"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (172_800, "2.0 d")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_logs_of_one_task(chain: Chain, submit: Submit) -> None:
    submit("teach", complete("a", host="n1"), failed("b"))
    submit("train-1", complete("a"))
    status = chain_status(chain)
    (log,) = task_logs(chain, status, "teach:a", 2)
    assert log == {
        "step": "teach",
        "task": "a",
        "state": "complete",
        "attempt": 1,
        "host": "n1",
        "job": None,
        "log": str(chain.folder / "records/teach/logs/a.1.log"),
        "error": None,
        "lines": ["a line 48", "a line 49"],
    }
    assert [one["step"] for one in task_logs(chain, status, "a", 2)] == ["teach", "train-1"]
    assert task_logs(chain, status, "b", 2)[0]["error"] == "ValueError: image 7 (a.jpg) is no image"
    with pytest.raises(ValueError, match=r"found no task 'x' that was submitted, expected one of: a, b, a$"):
        task_logs(chain, status, "x", 2)


def test_logs_of_a_student_are_those_of_the_task_that_trains_it(
    chain: Chain, submit: Submit, make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]
) -> None:
    config = make_config(
        student=[student_table(features="stored", seeds=[1, 2, 3])], cluster={"kind": "local", "students_per_task": 2}
    )
    chain = replace(chain, environment={CONFIG_VARIABLE: str(RunFolder(config.folder).save(config))})
    submit("train-1", complete("coop-kdpl-cached-seed1+1"), complete("coop-kdpl-cached-seed3"))
    status = chain_status(chain)
    for name in ("coop-kdpl-cached-seed2", "train-1:coop-kdpl-cached-seed2", "coop-kdpl-cached-seed1+1"):
        assert [log["task"] for log in task_logs(chain, status, name, 2)] == ["coop-kdpl-cached-seed1+1"]
    with pytest.raises(ValueError, match=r"found no task 'coop-kdpl-cached-seed4' that was submitted"):
        task_logs(chain, status, "coop-kdpl-cached-seed4", 2)


def test_many_tasks_are_not_all_named(chain: Chain, submit: Submit) -> None:
    with pytest.raises(ValueError, match="expected one of: none yet"):
        task_logs(chain, chain_status(chain), "x", 2)
    submit("teach", *(complete(str(number)) for number in range(13)))
    with pytest.raises(ValueError, match=r"7, 8, 9 and 3 more$"):
        task_logs(chain, chain_status(chain), "x", 2)


def test_a_task_without_a_log_shows_what_its_job_wrote(chain: Chain, submit: Submit) -> None:
    submit("teach", failed("a", TaskError(type="SIGKILL", message="killed", traceback="1\n2\nslurmstepd: oom_kill")))
    chain.paths("teach").log("a", 1).unlink()
    assert task_logs(chain, chain_status(chain), "a", 2)[0]["lines"] == ["2", "slurmstepd: oom_kill"]


def test_failures_are_grouped_and_differing_ones_shown(chain: Chain, submit: Submit) -> None:
    killed = TaskError(type="SIGSEGV", message="killed")
    other = replace(WRONG, message="image 8")
    blocked = TaskError(type="CANCELLED", message="Slurm says CANCELLED (DependencyNeverSatisfied) of job 7")
    submit("teach", failed("a"), failed("b", killed), failed("c"), failed("d", other), failed("e"), complete("f"))
    submit("train-1", TaskRecord(task_id="g", state="stopped", error=blocked))
    submit("report", failed("h"), is_finished=True)
    groups = failed_logs(chain, chain_status(chain), 3)
    assert [(group["step"], group["cause"], group["words"], group["tasks"]) for group in groups] == [
        ("teach", "input", "wrong input", ["a", "c", "d", "e"]),
        ("teach", "died", "killed", ["b"]),
    ]
    shown = [(log["task"], log["error"].partition(": ")[2]) for log in groups[0]["logs"]]
    assert shown == [("a", WRONG.message), ("d", other.message)], "one of each error"


def test_the_tasks_that_told_something_last(chain: Chain, submit: Submit) -> None:
    times = {"a": 5.0, "b": 2.0, "c": 9.0, "d": 7.0}
    submit("teach", *(complete(task, updated=when) for task, when in times.items()))
    assert [log["task"] for log in latest_logs(chain, chain_status(chain), 1)] == ["a", "d", "c"]
    assert read_journal(chain.paths("train-1")).submissions == ()
