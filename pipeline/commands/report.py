"""`fdbpl report`: a run as one page for a browser."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import CONFIG_FILE, Json, emit

Where = Annotated[Path, typer.Argument(metavar="CONFIG", help="the run's TOML file, or its folder")]


def report(
    where: Where = CONFIG_FILE,
    out: Annotated[Path | None, typer.Option(help="file to write (default: report.html in the run's folder)")] = None,
    tables: Annotated[Path | None, typer.Option(help="folder that gets each table as CSV and LaTeX too")] = None,
    json_: Json = False,
) -> None:
    """One HTML page of a run: results, curves, costs, where the time went, store and environment.

    It computes nothing: of a run that is not complete it says what is missing.
    """
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.report.run_report import write_run_report
    from fdbpl.pipeline.run.find import as_argument, config_of_run

    config = config_of_run(where)
    with Ui(quiet=json_).busy("drawing"):
        # A folder has no config file to submit, and its status says what to type.
        command = f"fdbpl {'status' if where.is_dir() else 'submit'} {shlex.quote(as_argument(where))}"
        result = write_run_report(config, command=command, out=out, tables=tables)
    emit(result, json_, _show)


def _show(result: dict[str, Any]) -> None:
    typer.echo(result["sentence"])
    for line in result["missing"]:
        typer.echo(f"missing {line}")
    for path in result["tables"]:
        typer.echo(f"table   {path}")
    typer.echo(f"report  {result['report']}")
