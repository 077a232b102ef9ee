"""`fdbpl data check` and `data known`: what they look at and what they show."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fdbpl.pipeline.config import DataConfig, RunConfig
from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.data.check import DataCheck, Finding, check_data
from fdbpl.pipeline.data.load import load_data, training_set
from fdbpl.pipeline.datasets.catalog import KNOWN, LAYOUTS
from fdbpl.pipeline.options import unknown_key
from fdbpl.pipeline.students.plan import list_plans

_NUM_SHOWN = 5


def run_check(target: str, folder: Path | None) -> dict[str, Any]:
    """The checks of a data set in a folder, of all known ones below it, or of a run's, as JSON.

    Raises:
        ValueError: an unknown name, or a name without a folder.
    """
    if folder is None:
        if target in (*LAYOUTS, "all"):
            raise ValueError(
                f"found the data set {target} without its folder, expected `fdbpl data check {target} FOLDER`"
            )
        if not Path(target).is_file():
            raise ValueError(
                f"found no config file {target}, expected one, or a name and a folder (`fdbpl data known` lists names)"
            )
        config = read_config(Path(target))
        checks = [check_data(data) for data in (config.data, *config.evaluate.targets)]
        is_read = checks[0].counts["classes"].found is not None
        return _to_json(checks, {0: _subset_findings(config) if is_read else []})
    if target == "all":
        checks = [check_data(DataConfig(name=name, folder=folder / known.folder)) for name, known in KNOWN.items()]
        return _to_json(checks, {})
    if target not in KNOWN and target != "class_folders":
        raise ValueError(unknown_key("data set", target, [*KNOWN, "class_folders", "all"]))
    return _to_json([check_data(DataConfig(name=target, folder=folder, layout=target))], {})


def _subset_findings(config: RunConfig) -> list[Finding]:
    """Few-shot subsets that a config gives its students and that do not fit."""
    if not config.data.few_shot:
        return []
    data = load_data(config.data)
    problems: dict[str, None] = {}
    for plan in list_plans(config):
        try:
            training_set(data, plan)
        except ValueError as error:
            problems[str(error)] = None
    return [Finding(part="few-shot subset", problem=problem) for problem in problems]


def _to_json(checks: list[DataCheck], more: dict[int, list[Finding]]) -> dict[str, Any]:
    data_sets = []
    for number, check in enumerate(checks):
        findings = [*check.findings, *more.get(number, [])]
        data_sets.append(
            {
                "name": check.name,
                "folder": str(check.config.folder),
                "layout": check.config.layout,
                "complete": not findings,
                "counts": {what: asdict(count) for what, count in check.counts.items()},
                "findings": [asdict(finding) for finding in findings],
                "left_out": list(check.left_out),
            }
        )
    return {"complete": all(one["complete"] for one in data_sets), "data_sets": data_sets}


def show_check(result: dict[str, Any]) -> None:
    """A table with a row for each data set, and below it what is wrong."""
    counted = ("classes", "train", "val", "test")
    table = Table(title="found / known sizes")
    table.add_column("data set", no_wrap=True)
    for what in (*counted, "wrong"):
        table.add_column(what, overflow="fold")
    for one in result["data_sets"]:
        numbers = [_found_of(one["counts"][what]) for what in counted]
        parts = dict.fromkeys(finding["part"] for finding in one["findings"])
        table.add_row(one["name"], *numbers, ", ".join(parts))
    console = Console(highlight=False, markup=False)
    console.print(table)
    for one in result["data_sets"]:
        for finding in one["findings"]:
            console.print(f"{one['name']}: {finding['part']}: {finding['problem']}", soft_wrap=True)
            if finding["source"]:
                console.print(f"  usually from {finding['source']}", soft_wrap=True)
        if one["left_out"]:
            shown = ", ".join(one["left_out"][:_NUM_SHOWN]) + (" …" if len(one["left_out"]) > _NUM_SHOWN else "")
            console.print(f"{one['name']}: left out, as no images by their names: {shown}", soft_wrap=True)


def _found_of(count: dict[str, Any]) -> str:
    found, expected = ("-" if value is None else f"{value:,}" for value in (count["found"], count["expected"]))
    return f"{found}/{expected}" if expected != "-" else found


def known_data_sets() -> dict[str, Any]:
    """The catalogue, as JSON."""
    return {"data_sets": [asdict(entry) for entry in KNOWN.values()]}


def show_known(result: dict[str, Any]) -> None:
    table = Table()
    for column in ("name", "folder", "classes", "template"):
        table.add_column(column, no_wrap=column != "template")
    for one in result["data_sets"]:
        table.add_row(one["name"], one["folder"], str(one["num_classes"]), one["template"])
    Console(highlight=False, markup=False).print(table)
