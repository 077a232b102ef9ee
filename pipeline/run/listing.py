"""The runs that lie in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdbpl.pipeline.run.provenance import last_submission
from fdbpl.slurm.chain import chain_file, load_chain
from fdbpl.slurm.chain_status import chain_status
from fdbpl.slurm.errors import SlurmError

# A run folder lies at most so many folders below.
DEPTH = 3


def find_runs(folder: Path) -> list[dict[str, Any]]:
    """Each run in a folder and below it, by when it was submitted last, the latest first.

    Raises:
        ValueError: no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"found no folder {folder}, expected one that holds run folders")
    found = [_describe(run) for run in _run_folders(folder, DEPTH)]
    return sorted(found, key=lambda run: str(run["submitted"]), reverse=True)


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    try:
        if chain_file(folder).exists():
            yield folder
            return
        inner = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except PermissionError:  # somebody else's run
        return
    if depth:
        for path in inner:
            yield from _run_folders(Path(path), depth - 1)


def _describe(folder: Path) -> dict[str, Any]:
    standing, done = "unknown", {}
    last = last_submission(folder)
    try:
        chain = load_chain(folder)
        if chain is None:
            raise ValueError(f"{chain_file(folder)} cannot be read")
        status = chain_status(chain)
        standing = status.standing
        done = {step.step.name: [step.counts["complete"], step.total] for step in status.steps}
    except SlurmError:
        standing = "unknown: Slurm does not answer"
    except (ValueError, LookupError, TypeError):  # of another version, or broken: the others are shown
        standing = "unknown: its records cannot be read"
    return {
        "folder": str(folder),
        "standing": standing,
        "steps": done,
        "submitted": last.get("time"),
        "command": last.get("command"),
        "backend": last.get("backend"),
        "code": last.get("code"),
        "versions": last.get("versions"),
    }


def _done(steps: dict[str, list[int]]) -> str:
    """How far the first step is that is not complete; of a complete run how many tasks it had."""
    for name, (have, total) in steps.items():
        if have < total:
            return f"{name} {have}/{total}"
    return f"{sum(total for _, total in steps.values())} tasks"


def show_runs(result: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("run", "state", "done", "submitted", "where", "code"):
        table.add_column(column, overflow="fold")
    for run in result["runs"]:
        submitted = (run["submitted"] or "-")[:16].replace("T", " ")
        code = (run["code"] or "-")[:8]
        table.add_row(run["folder"], run["standing"], _done(run["steps"]), submitted, run["backend"] or "-", code)
    Console(highlight=False, markup=False).print(table)
