"""`fdbpl protocol NAME CONFIG`: a protocol of the field over all of its data sets, as one command."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from fdbpl.pipeline.commands.shared import Cluster, Config, Json, Set, emit, overrides, typed
from fdbpl.pipeline.exit_codes import COMPLETE, RUNNING, TASKS_FAILED


def protocol(
    name: Annotated[str, typer.Argument(help="base-to-new, few-shot, cross-dataset or domain-generalisation")],
    config: Config,
    root: Annotated[
        Path | None, typer.Option(help="folder of the data sets (default: the parent of the config's data folder)")
    ] = None,
    data_sets: Annotated[
        str,
        typer.Option(help="names, with commas between (default: all); `fdbpl data known` lists them"),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and start nothing")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="on Slurm: stay until all runs have ended")] = False,
    set_: Set = None,
    cluster: Cluster = None,
    json_: Json = False,
) -> None:
    """A protocol over all its data sets: a run for each with the teacher and students of CONFIG, and their table.

    Run it again: it goes on, or tells the table. Each run is an ordinary one (`fdbpl status FOLDER/NAME.toml`).
    """
    from fdbpl.pipeline.config import Protocol
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.protocols.start import plan_suite, run_suite
    from fdbpl.pipeline.protocols.suite import make_suite

    if name not in get_args(Protocol):
        raise ValueError(f"found the protocol {name}, expected one of {', '.join(get_args(Protocol))}")
    chosen = tuple(filter(None, (one.strip() for one in data_sets.split(","))))
    suite = make_suite(name, config, root=root, data_sets=chosen, overrides=overrides(set_, cluster))  # type: ignore[arg-type]  # it is one
    if dry_run:
        emit(plan_suite(suite), json_, _show_plan)
        return
    result = run_suite(suite, Ui(quiet=json_), command=typed(), wait=watch)
    emit(result, json_, _show)
    standings = set(result["standing"].values())
    code = RUNNING if "running" in standings else COMPLETE if standings == {"complete"} else TASKS_FAILED
    if code != COMPLETE:
        raise typer.Exit(code)


def _show_plan(result: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "students", "tests", "tasks that are missing", box=SIMPLE, title=result["protocol"])
    for run in result["runs"]:
        missing = ", ".join(f"{step} {count}" for step, count in run.get("missing", {}).items() if count)
        tests = ", ".join(run["tests"])
        table.add_row(run["run"], str(run["students"]), tests, run["problem"] or missing or "none: it is complete")
    Console(markup=False, highlight=False).print(table)


def _show(result: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from fdbpl.pipeline.evaluation.report import TITLES

    console = Console(markup=False, highlight=False)
    columns = result["columns"]
    titles = [TITLES.get(column, column) for column in columns]
    if result["average"]:
        number = result["average"][0]["num_data_sets"]
        table = Table("method", *titles, "published", box=SIMPLE, title=f"{result['protocol']}: {number} data sets")
        for row in result["average"]:
            told = {key: value for key, value in row.get("published", {}).items() if key != "source"}
            published = ", ".join(f"{TITLES.get(key, key)} {value:.1f}" for key, value in told.items())
            table.add_row(row["row"], *(_cell(row, column) for column in columns), published)
        console.print(table)
    if len(result["data_sets"]) > 1:
        table = Table("data set", "method", *titles, box=SIMPLE)
        for name, found in result["data_sets"].items():
            for method in found["methods"]:
                if method["num_seeds"]:
                    table.add_row(name, method["method"], *(_cell(method, column) for column in columns))
        console.print(table)
    for name, standing in result["standing"].items():
        if standing != "complete":
            console.print(f"{name}: {standing}; fdbpl status {Path(result['folder']) / name}.toml")


def _cell(row: dict[str, Any], column: str) -> str:
    spread = row.get(f"{column}_sd")
    return f"{row[column]:.1f}" + ("" if spread is None else f" ± {spread:.1f}")
