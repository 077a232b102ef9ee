"""A run's plan for people."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from fdbpl.pipeline.run.status import duration

COLUMNS = ("step", "missing", "jobs", "work", "one task", "time", "GPU-h", "store")


def show_plan(plan: dict[str, Any], *, scripts: bool, arguments: str) -> None:
    """Print the plan: a table, totals, Slurm's answers, and what to type next, with what the plan was asked for."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 110
    table = Table(box=SIMPLE, pad_edge=False)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for step in plan["steps"]:
        table.add_row(*_cells(step))
    console.print(table)
    for line in _totals(plan, arguments):
        console.print(line, soft_wrap=True)
    for step in plan["steps"]:
        if step["slurm"] is not None:
            console.print(f"sbatch --test-only, {step['step']}: {step['slurm']['answer']}", soft_wrap=True)
        if scripts and step["script"]:
            console.print(f"── {step['step']}")
            console.print(step["script"], soft_wrap=True)
    console.print(f"next: fdbpl submit {arguments}", soft_wrap=True)


def _totals(plan: dict[str, Any], arguments: str) -> list[str]:
    known = f"{duration(plan['seconds'])}, {plan['gpu_hours']:.1f} GPU-hours, without the wait in the queue"
    lines = [f"time: {known}"]
    if plan["unknown"]:
        lines[0] += f"; not known: {', '.join(plan['unknown'])}"
        lines.append(
            f"      tell a rate (--rate teach=800), measure the teacher's here (fdbpl plan {arguments} --measure)"
        )
    lines.append(
        f"store: {_size(plan['bytes'])} will be written to {plan['store']}; free there: {_size(plan['bytes_free'])}"
    )
    if not plan["fits"]:
        lines.append("       THAT DOES NOT FIT: set store.path to another file system, or write fewer encodings")
    if plan["is_private"] and plan["backend"] == "slurm":
        lines.append("       it lies in the run folder, which is closed to others: to share it set store.path")
    lines.append(f"runs on: {plan['backend']} ({plan['reason']})")
    return lines


def _cells(step: dict[str, Any]) -> list[str]:
    bundle = f" x {step['per_job']}" if step["per_job"] > 1 else ""
    jobs = f"{step['jobs']}{bundle}, {step['parallel']} at a time" if step["jobs"] else "-"
    return [
        step["step"],
        f"{step['missing']} of {step['tasks']}",
        jobs,
        f"{step['units']:,} {step['unit']}" if step["units"] else "-",
        "?" if step["rate"] is None and step["units"] else f"{step['rate']:,.0f}/s" if step["rate"] else "-",
        "?" if step["seconds"] is None else duration(step["seconds"]) if step["seconds"] else "-",
        "?" if step["gpu_hours"] is None else f"{step['gpu_hours']:.1f}" if step["gpu_hours"] else "-",
        _size(step["bytes"]) if step["bytes"] else "-",
    ]


def _size(num_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
