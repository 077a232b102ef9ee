"""Commands that look after a whole run: plan, submit, status, logs, retry, cancel, show-script, runs."""

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import CONFIG_FILE, Cluster, Config, Json, Set, emit, overrides, typed
from fdbpl.pipeline.exit_codes import COMPLETE

Where = Annotated[Path, typer.Argument(metavar="CONFIG", help="the run's TOML file, or its folder")]
Watch = Annotated[
    bool, typer.Option("--watch", help="stay and show it until the run ends; Ctrl-C leaves the run alone")
]
ProfileName = Annotated[str | None, typer.Option("--profile", help="site profile (default: as the config says)")]
Grow = Annotated[bool, typer.Option("--grow", help="add the images, crop seeds and class names that the store lacks")]
Rate = Annotated[
    list[str] | None,
    typer.Option(metavar="STEP=N", help="units a second of one task, e.g. teach=800 (views) or train=40 (steps)"),
]


def plan(
    config: Config = CONFIG_FILE,
    rate: Rate = None,
    measure: Annotated[bool, typer.Option("--measure", help="run the teacher on a few crops here to know its rate")] = (
        False
    ),
    scripts: Annotated[bool, typer.Option("--scripts", help="show what sbatch would be given")] = False,
    grow: Grow = False,
    set_: Set = None,
    cluster: Cluster = None,
    profile: ProfileName = None,
    json_: Json = False,
) -> None:
    """What a run would do and cost: tasks, jobs, time, GPU-hours, bytes. Starts nothing."""
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.run.find import as_argument
    from fdbpl.pipeline.run.plan_table import show_plan
    from fdbpl.pipeline.run.submit import Submission

    with Ui(quiet=json_).busy("planning"):
        submission = Submission.read(config, overrides(set_, cluster, profile), grow=grow)
        planned = submission.plan(rate or [], measure=measure)
    flags = [part for change in set_ or () for part in ("--set", change)] + (["--grow"] if grow else [])
    for name, value in (("--cluster", cluster), ("--profile", profile)):
        flags += [name, value] if value is not None else []
    arguments = shlex.join([as_argument(config), *flags])
    emit(planned, json_, lambda result: show_plan(result, scripts=scripts, arguments=arguments))


def submit(
    config: Config = CONFIG_FILE,
    watch: Watch = False,
    grow: Grow = False,
    set_: Set = None,
    cluster: Cluster = None,
    profile: ProfileName = None,
    json_: Json = False,
) -> None:
    """Start the whole run, from the teacher to the report, and let it finish unattended. What runs is not run twice."""
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.run.find import name_of
    from fdbpl.pipeline.run.submit import Submission

    with Ui(quiet=json_).busy("looking at data, students and models"):
        result = Submission.read(config, overrides(set_, cluster, profile), grow=grow).submit(command=typed())
    if watch:
        _status(name_of(config, Path(result["folder"])), watch=True, json_=json_)
    else:
        emit(result, json_, show_submitted)


def status(where: Where = CONFIG_FILE, watch: Watch = False, json_: Json = False) -> None:
    """How a run stands, and what to type next. Exit code: 0 complete, 3 running, 4 failed, 75 stopped."""
    _status(where, watch=watch, json_=json_)


def _status(where: Path, *, watch: bool, json_: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from fdbpl.pipeline.run.find import as_argument, find_chain
    from fdbpl.pipeline.run.status import describe, show_status
    from fdbpl.slurm.chain_status import chain_status
    from fdbpl.slurm.errors import SlurmError
    from fdbpl.slurm.queue import Queue

    def look() -> dict[str, Any]:
        chain = find_chain(where)
        try:
            found, silence = chain_status(chain), ""
        except SlurmError as error:
            found, silence = chain_status(chain, Queue.unasked(chain)), str(error)
        return describe(found, str(chain.folder), as_argument(where), silence=silence)

    found = look()
    if watch and not json_:
        with Live(show_status(found), console=Console(markup=False), auto_refresh=False) as live:
            while found["standing"] == "running":
                time.sleep(2)
                found = look()
                live.update(show_status(found), refresh=True)
    else:
        while watch and found["standing"] == "running":
            time.sleep(2)
            found = look()
        emit(found, json_, lambda result: Console(highlight=False, markup=False).print(show_status(result)))
    if found["exit_code"] != COMPLETE:
        raise typer.Exit(found["exit_code"])


def logs(
    where: Where = CONFIG_FILE,
    failed: Annotated[bool, typer.Option("--failed", help="tasks that ended badly, grouped by cause")] = False,
    task: Annotated[str | None, typer.Option(help="one task: its id, a student's, or STEP:ID")] = None,
    tail: Annotated[int, typer.Option(min=1, help="last lines of each log")] = 20,
    json_: Json = False,
) -> None:
    """What tasks have printed: one task, the failed ones by cause, or those that told something last."""
    from fdbpl.pipeline.run.find import find_chain
    from fdbpl.pipeline.run.logs import failed_logs, latest_logs, task_logs
    from fdbpl.slurm.chain_status import chain_status

    chain = find_chain(where)
    found = chain_status(chain)
    if task is not None:
        emit({"logs": task_logs(chain, found, task, tail)}, json_, _show_logs)
    elif failed:
        emit({"groups": failed_logs(chain, found, tail)}, json_, _show_groups)
    else:
        emit({"logs": latest_logs(chain, found, tail)}, json_, _show_logs)


def retry(where: Where = CONFIG_FILE, cluster: Cluster = None, watch: Watch = False, json_: Json = False) -> None:
    """Run again what is missing of a run, as it was submitted; what is complete is kept, and what is learned of memory,
    time and nodes too. After a change of the config, use submit."""
    from fdbpl.pipeline.run.find import find_chain
    from fdbpl.pipeline.run.submit import start_chain

    result = start_chain(find_chain(where), kind=cluster, command=typed())
    if watch:
        _status(where, watch=True, json_=json_)
    else:
        emit(result, json_, show_submitted)


def cancel(where: Where = CONFIG_FILE, json_: Json = False) -> None:
    """End all tasks and jobs of a run. What is complete is kept: retry goes on."""
    from fdbpl.pipeline.run.find import find_chain
    from fdbpl.slurm.start import cancel_run

    chain = find_chain(where)
    ended = cancel_run(chain.folder)
    emit(
        {"folder": str(chain.folder), "ended": ended},
        json_,
        lambda result: typer.echo(f"ended: {', '.join(result['ended']) or 'nothing was at work'}"),
    )


def show_script(
    where: Where = CONFIG_FILE,
    step: Annotated[str, typer.Option(help="teach, features, train-1, …")] = "teach",
    json_: Json = False,
) -> None:
    """The script that sbatch was given for a step, or would be given."""
    from fdbpl.pipeline.run.submit import script_of

    emit(script_of(where, step), json_, lambda result: typer.echo(result["script"]))


def runs(
    folder: Annotated[Path, typer.Argument(help="where to look, with the folders below")] = Path(),
    json_: Json = False,
) -> None:
    """The runs in a folder: how each stands, when and by what it was submitted."""
    from fdbpl.pipeline.run.listing import find_runs, show_runs

    emit({"runs": find_runs(folder)}, json_, show_runs)


def show_submitted(result: dict[str, Any]) -> None:
    """Print what `start_chain` has done."""
    for step in result["steps"]:
        told = [
            f"{step[key]} {word}"
            for key, word in (("submitted", "submitted"), ("attached", "at work already"), ("done", "done"))
            if step[key]
        ]
        typer.echo(f"{step['step']}: {', '.join(told) or 'nothing to do'}")
    typer.echo(f"{result['backend']} ({result['reason']})\nnext: {result['next']}")


def _show_logs(result: dict[str, Any]) -> None:
    for log in result["logs"]:
        typer.echo(f"── {log['step']}:{log['task']} · {log['state']} · attempt {log['attempt']} · {log['host']}")
        if log["error"]:
            typer.echo(log["error"])
        for line in log["lines"]:
            typer.echo(f"   {line}")
        typer.echo(f"   log: {log['log']}")
    if not result["logs"]:
        typer.echo("no task has begun yet")


def _show_groups(result: dict[str, Any]) -> None:
    for group in result["groups"]:
        shown = ", ".join(group["tasks"][:10]) + (
            f" and {len(group['tasks']) - 10} more" if group["tasks"][10:] else ""
        )
        typer.echo(f"══ {group['step']}: {group['words']}: {len(group['tasks'])} tasks: {shown}")
        _show_logs(group)
    if not result["groups"]:
        typer.echo("no task has failed")
