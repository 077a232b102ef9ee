"""`fdbpl cache verify`, `repair` and `seal`: what they do and what they show."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fdbpl.cache_layout.findings import Verification
from fdbpl.cache_layout.repair import repair
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.verify import verify
from fdbpl.pipeline.byte_bar import byte_bar
from fdbpl.pipeline.progress import Ui

TEACHER = "teacher"


def run_verify(
    store: Path, ui: Ui, *, campaigns: Sequence[str] | None, jobs: int | None, fresh: bool, unit_norm: bool
) -> dict[str, Any]:
    """The report of `verify`, with a bar."""
    with byte_bar(ui, f"checking {store}") as on_progress:
        return verify(
            store, campaigns=campaigns, jobs=jobs, fresh=fresh, unit_norm=unit_norm, on_progress=on_progress
        ).to_json()


def run_repair(
    store: Path, ui: Ui, *, from_report: Path | None, dry_run: bool, jobs: int | None, unit_norm: bool
) -> dict[str, Any]:
    """What `repair` did or would do, and the commands that write again what it withdrew."""
    if from_report is None:
        with byte_bar(ui, f"checking {store}") as on_progress:
            found = verify(store, jobs=jobs, unit_norm=unit_norm, on_progress=on_progress)
    else:
        found = _read_report(from_report)
    result = repair(store, found, dry_run=dry_run)
    commands = {"fdbpl teach CONFIG" if name == TEACHER else "fdbpl features CONFIG" for name in result.withdrawn}
    return {**result.to_json(), "dry_run": dry_run, "next": sorted(commands, reverse=True)}


def run_seal(store: Path, campaign: str | None) -> dict[str, Any]:
    """What is sealed."""
    return {"store": str(store), **asdict(seal(store, campaign))}


def _read_report(path: Path) -> Verification:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: found no report ({error}), expected what `fdbpl cache verify --json` printed"
        ) from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: found no report, expected what `fdbpl cache verify --json` printed")
    return Verification.from_json(values)


def show_verification(report: dict[str, Any]) -> None:
    """A table of all findings, and a line that sums up."""
    console = Console(highlight=False, soft_wrap=True)
    if report["findings"]:
        table = Table(title=report["store"])
        table.add_column("finding", no_wrap=True)
        longest = max(len(finding["file"]) for finding in report["findings"])
        table.add_column("file", no_wrap=True, min_width=longest)  # a name that is broken up cannot be searched for
        table.add_column("views", justify="right")
        table.add_column("what", overflow="fold")
        for finding in report["findings"]:
            table.add_row(finding["kind"], finding["file"], str(finding["views"] or ""), _details(finding))
        console.print(table)
    for note in report["notes"]:
        console.print(f"note: {note}", markup=False)
    state = "sound" if report["is_sound"] else "not sound: `fdbpl cache repair` lets the harmed blocks be written again"
    console.print(
        f"{report['store']}: {report['files']} files, {report['bytes']:,} bytes checked, {state}", markup=False
    )


def _details(finding: dict[str, Any]) -> str:
    """What was found, in which views."""
    from rich.markup import escape

    if not finding["images"]:
        return escape(finding["what"])
    first, last = finding["images"]
    seeds = ", ".join(map(str, finding["seeds"]))
    paths = f" ({', '.join(finding['paths'])}{', ...' if last - first >= len(finding['paths']) else ''})"
    return escape(f"{finding['what']}; images {first} to {last}{paths if finding['paths'] else ''}, seeds {seeds}")


def show_repair(result: dict[str, Any]) -> None:
    """What was withdrawn, removed, written anew and left, and the next command."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    would = "would be " if result["dry_run"] else ""
    for name, ids in result["withdrawn"].items():
        console.print(f"campaign {name}: {len(ids)} blocks {would}withdrawn: {', '.join(ids)}")
    for word in ("removed", "rewritten"):
        for file in result[word]:
            console.print(f"{would}{word}: {file}")
    for left in result["left"]:
        console.print(f"left: {left['file']}: {left['what']}; {left['advice']}")
    if result["next"]:
        console.print(f"to write again what {would or 'was '}withdrawn: {', then '.join(result['next'])}")
    elif not result["rewritten"] and not result["left"]:
        console.print(f"{result['store']}: nothing to repair")


def show_seal(result: dict[str, Any]) -> None:
    """What is sealed, in a line."""
    Console(highlight=False, markup=False, soft_wrap=True).print(
        f"{result['store']}: {', '.join(result['campaigns'])} sealed, {result['num_files']} files, "
        f"{result['num_bytes']:,} bytes, {result['digest']}"
    )
