"""How a run stands, for people and for scripts: one table, the worst reason in words, and what to type next."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdbpl.pipeline.exit_codes import COMPLETE, RUNNING, STOPPED, TASKS_FAILED
from fdbpl.slurm.causes import WORDS
from fdbpl.slurm.chain_status import ChainStatus, Standing, StepStatus
from fdbpl.slurm.local_driver import driver_log
from fdbpl.slurm.logs import last_lines

EXIT_CODES: Mapping[Standing, int] = {
    "complete": COMPLETE,
    "running": RUNNING,
    "failed": TASKS_FAILED,
    "stopped": STOPPED,
    "blocked": STOPPED,
    "waiting": STOPPED,
}
COLUMNS = ("step", "state", "done", "running", "pending", "failed", "rate", "left")


def describe(status: ChainStatus, folder: str, typed: str, *, silence: str = "") -> dict[str, Any]:
    """A run's state as JSON.

    Args:
        status: how it stands.
        folder: its run folder.
        typed: the config or folder that the person named.
        silence: why Slurm could not be asked, where it could not.
    """
    return {
        "folder": folder,
        "standing": status.standing,
        "exit_code": EXIT_CODES[status.standing],
        "silence": silence,
        "steps": [_describe_step(step) for step in status.steps],
        "driver": _driver_said(status, folder),
        "next": next_command(status, shlex.quote(typed)),
    }


def _driver_said(status: ChainStatus, folder: str) -> str:
    """The last words of the process that ran the tasks here, where it has left some undone; or ""."""
    return "" if status.standing in ("complete", "running") else last_lines(driver_log(Path(folder)), 1)


def next_command(status: ChainStatus, typed: str) -> str:
    """What a person would type next."""
    if status.standing == "complete":
        return f"fdbpl report {typed}"
    if status.standing == "running" and any("held" in step.waiting.lower() for step in status.steps):
        return f"fdbpl retry {typed} (lets go on what Slurm holds)"
    return {
        "running": f"fdbpl status {typed} --watch",
        "failed": f"fdbpl logs {typed} --failed, then: fdbpl retry {typed}",
        "stopped": f"fdbpl retry {typed}",
        "blocked": f"fdbpl retry {typed}",
        "waiting": f"fdbpl retry {typed}",
    }[status.standing]


def _describe_step(step: StepStatus) -> dict[str, Any]:
    counts = step.counts
    jobs = sorted({seen.record.job.partition("_")[0] for seen in step.tasks.values() if seen.record.job}, key=int)
    return {
        "step": step.step.name,
        "standing": step.standing,
        "total": step.total,
        "done": counts["complete"],
        "running": counts["running"],
        "pending": counts["pending"],
        "failed": counts["failed"],
        "stopped": counts["stopped"],
        "unit": step.step.unit,
        "rate": None if step.rate is None else round(step.rate, 2),
        "seconds_left": None if step.seconds_left is None else round(step.seconds_left),
        "waiting": step.waiting,
        "jobs": jobs,
        "worst": _worst(step),
    }


def _worst(step: StepStatus) -> dict[str, Any] | None:
    """The most frequent cause of bad ends, and one task that it hit."""
    if step.standing == "blocked" or step.is_finished or not step.causes:
        return None
    cause, records = next(iter(step.causes.items()))
    error = records[0].error
    message = error.message if error is not None else ""
    return {
        "cause": cause,
        "words": WORDS[cause],
        "tasks": len(records),
        "task": records[0].task_id,
        "type": error.type if error is not None else "",
        "message": message,
        "log": records[0].log,
    }


def show_status(described: dict[str, Any]) -> Any:
    """The state as something that rich prints."""
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    rows = [_cells(step) for step in described["steps"]]
    # What no step has takes no room: terminals are narrow.
    shown = [number for number in range(len(COLUMNS)) if number < 2 or any(row[number] not in "-" for row in rows)]
    for number in shown:
        table.add_column(COLUMNS[number], justify="right" if number > 1 else "left", no_wrap=number != 1)
    for row in rows:
        table.add_row(*(row[number] for number in shown))
    lines = []
    if described["silence"]:
        lines.append(f"Slurm does not answer ({described['silence']}): this is what tasks last told")
    for step in described["steps"]:
        worst = step["worst"]
        if worst is not None:
            lines.append(f"{step['step']}: {worst['words']}: {worst['tasks']} tasks, such as {worst['task']}")
            lines += [f"  {line}" for line in f"{worst['type']}: {worst['message']}".splitlines()[:6]]
            lines.append(f"  log: {described['folder']}/{worst['log']}")
    if described["driver"]:
        lines.append(f"the process that ran the tasks here has ended: {described['driver']}")
        lines.append(f"  log: {driver_log(Path(described['folder']))}")
    lines += [f"{described['folder']}: {described['standing']}", f"next: {described['next']}"]
    return Group(table, *(Text(line) for line in lines))


def _cells(step: dict[str, Any]) -> list[str]:
    state = "queued" if step["standing"] == "running" and not step["running"] else step["standing"]
    if step["waiting"]:
        state += f" ({step['waiting']})"
    failed = step["failed"] + step["stopped"]
    rate = "" if step["rate"] is None else f"{step['rate']:,.0f} {step['unit']}/s"
    left = "" if step["seconds_left"] is None else duration(step["seconds_left"])
    counts = [str(number) if number else "-" for number in (step["running"], step["pending"], failed)]
    total = f"/{step['total']}" if step["total"] else ""
    return [step["step"], state, f"{step['done']}{total}", *counts, rate, left]


def duration(seconds: float) -> str:
    """'45 s', '12 min', '3.5 h', '2.1 d'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
