"""`fdbpl reproduce …`: the paper's comparison in small, from nothing to a page of results."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import Json, emit, typed

reproduce_app = typer.Typer(help="Make a published comparison anew, in small.", no_args_is_help=True)


@reproduce_app.callback()
def _group() -> None:
    """Make a published comparison anew, in small."""


@reproduce_app.command()
def mini(
    full: Annotated[
        bool, typer.Option("--full", help="hours: 1, 4 and 16 shots, a second teacher, five few-shot seeds")
    ] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="a minute: tries the machinery, its numbers mean nothing")
    ] = False,
    study: Annotated[
        str,
        typer.Option(help="comparison, ablation (of FDBPL's terms), weights, views, coupled, coupled-again"),
    ] = "comparison",
    folder: Annotated[
        Path | None, typer.Option(help="where everything is kept (default: reproduction/, then the form's name)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="tell what is missing and how long it would take")] = False,
    submit: Annotated[
        bool, typer.Option("--submit", help="start it and return: it goes on here in the background, or on Slurm")
    ] = False,
    cluster: Annotated[
        str, typer.Option(help="where tasks run: local, slurm, or auto: Slurm where it answers")
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="tasks at a time (default: the cores here; no limit on Slurm)")
    ] = None,
    profile: Annotated[str, typer.Option(help="site profile of a Slurm cluster")] = "",
    json_: Json = False,
) -> None:
    """CoOp, KDPL and FDBPL on the generated world, over freshly pretrained students. Run it again: it goes on."""
    from fdbpl.pipeline.commands.run import show_submitted
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.reproduce.form import form_by
    from fdbpl.pipeline.reproduce.mini import Reproduction

    if full and tiny:
        raise ValueError("found --full and --tiny, expected one of them, or none for the form of 20 minutes")
    form = form_by("full" if full else "tiny" if tiny else "quick", study)
    whole = Reproduction(
        form,
        folder or Path("reproduction") / form.name,
        cluster=cluster,
        workers=workers,
        profile=profile,
        command=typed(),
    )
    if dry_run:
        emit(whole.plan(), json_, _show_plan)
    elif submit:
        emit(whole.submit(), json_, show_submitted)
    else:
        emit(whole.run(Ui(quiet=json_)), json_, _show_results)


def _show_plan(plan: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from fdbpl.pipeline.run.status import duration

    form = plan["form"]
    table = Table(box=SIMPLE, pad_edge=False)
    for number, column in enumerate(("step", "missing", "on one core", "time")):
        table.add_column(column, justify="right" if number else "left")
    for step in plan["steps"]:
        cells = (duration(step[key]) if step["missing"] else "-" for key in ("core_seconds", "seconds"))
        table.add_row(step["step"], f"{step['missing']} of {step['tasks']}", *cells)
    console = Console(highlight=False, markup=False)
    console.print(table)
    rates = ", ".join(f"{rate:g} {unit}" for unit, rate in plan["rates"].items())
    duration_told = f"{duration(plan['seconds'])} with {plan['workers']} tasks at a time"
    for line in (
        f"{len(plan['runs'])} runs ({', '.join(plan['runs'])}), {len(form['students'])} students, "
        f"{plan['trainings']} trainings of {form['steps']} steps",
        f"time: {duration_told}, where a core does each second: {rates}",
        f"runs on: {plan['backend']} ({plan['reason']}), in {plan['folder']}",
    ):
        console.print(line, soft_wrap=True)


def _show_results(results: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from fdbpl.pipeline.reproduce.report import method_tables, sentences

    console = Console(highlight=False, markup=False)
    for title, head, rows in method_tables(results):
        table = Table(title=title, box=SIMPLE, pad_edge=False)
        for number, column in enumerate(head):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in sentences(results):
        console.print(line, soft_wrap=True)
    computed = ", ".join(f"{count} {step}" for step, count in results["computed"].items() if count)
    typer.echo(f"computed now: {computed or 'nothing'}, in {results['seconds']} s\nreport  {results['report']}")
