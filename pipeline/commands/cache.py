"""`fdbpl cache …`: looking at stores, checking and mending them; copies and archives are registered beside."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import Json, emit
from fdbpl.pipeline.commands.store_copy import register
from fdbpl.pipeline.exit_codes import FOUND_SOMETHING

cache_app = typer.Typer(help="Look at, check, mend, copy and archive a store of soft labels.", no_args_is_help=True)
register(cache_app)


@cache_app.callback()
def _group() -> None:
    """Look at, check, mend, copy and archive a store of soft labels."""


@cache_app.command()
def info(
    store: Annotated[Path, typer.Argument(help="the Zarr store")],
    json_: Json = False,
) -> None:
    """What a store holds: manifest, arrays, bytes a view, how far off labels can be, and how complete it is."""
    from fdbpl.pipeline.labels.store_info import store_info

    emit(store_info(store), json_, _show)


Store = Annotated[Path, typer.Argument(help="the Zarr store")]
Jobs = Annotated[int | None, typer.Option(min=1, help="files read at once (default: one for each processor)")]
NoUnitNorm = Annotated[bool, typer.Option("--no-unit-norm", help="embeddings need not have norm 1")]


@cache_app.command()
def verify(
    store: Store,
    jobs: Jobs = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="read again what a check that was cut off found good")] = False,
    no_unit_norm: NoUnitNorm = False,
    campaign: Annotated[
        list[str] | None, typer.Option(help="check the shards of this one only; may be repeated")
    ] = None,
    json_: Json = False,
) -> None:
    """Read every byte of a store and say what is not as it should be. Exit code 1 where anything is harmed."""
    from fdbpl.pipeline.commands.store_verify import run_verify, show_verification
    from fdbpl.pipeline.progress import Ui

    ui = Ui(quiet=json_)
    result = run_verify(store, ui, campaigns=campaign, jobs=jobs, fresh=fresh, unit_norm=not no_unit_norm)
    emit(result, json_, show_verification)
    if not result["is_sound"]:
        raise typer.Exit(FOUND_SOMETHING)


@cache_app.command()
def repair(
    store: Store,
    from_report: Annotated[
        Path | None, typer.Option(help="what `verify --json` printed, in place of a check now")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")] = False,
    jobs: Jobs = None,
    no_unit_norm: NoUnitNorm = False,
    json_: Json = False,
) -> None:
    """Withdraw the harmed blocks, so that `fdbpl teach` or `fdbpl features` writes them again."""
    from fdbpl.pipeline.commands.store_verify import run_repair, show_repair
    from fdbpl.pipeline.progress import Ui

    ui = Ui(quiet=json_)
    result = run_repair(store, ui, from_report=from_report, dry_run=dry_run, jobs=jobs, unit_norm=not no_unit_norm)
    emit(result, json_, show_repair)
    if result["left"]:
        raise typer.Exit(FOUND_SOMETHING)


@cache_app.command()
def seal(
    store: Store,
    campaign: Annotated[str | None, typer.Option(help="this one only (default: all)")] = None,
    json_: Json = False,
) -> None:
    """Check the new files of a store against their done-records, and close it."""
    from fdbpl.pipeline.commands.store_verify import run_seal, show_seal

    emit(run_seal(store, campaign), json_, show_seal)


def _show(facts: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=facts["store"], box=SIMPLE, pad_edge=False)
    for column in ("array", "shape", "type"):
        table.add_column(column, overflow="fold")
    for column in ("bytes a view", "GB a million views"):
        table.add_column(column, justify="right")
    for array in facts["arrays"]:
        sizes = str(array["bytes_per_view"]), f"{array['gb_per_million_views']:.3f}"
        table.add_row(array["name"], str(array["shape"]), array["dtype"], *sizes)
    console = Console()
    console.print(table)
    for name, campaign in facts["campaigns"].items():
        state = "sealed" if campaign["sealed"] else "not sealed"
        seals = f" {campaign['seals']} times" if campaign["seals"] > 1 else ""
        console.print(f"{name}: {campaign['blocks_present']} of {campaign['blocks']} blocks, {state}{seals}")
    for encoding, bound in facts["labels"].items():
        console.print(f"{encoding}: {bound}", highlight=False)
    console.print(
        f"{facts['images']} images x {facts['seeds']} crop seeds, {facts['bytes_per_view']} bytes a view, "
        f"{facts['bytes_per_view'] / 1000:.2f} GB a million views; {facts['bytes_on_disk']:,} bytes on disk"
    )
    if facts["excluded"]:
        console.print(
            f"{len(facts['excluded'])} images cannot be read and are excluded: --json lists them, each with why"
        )
    console.print(f"fingerprint {facts['fingerprint']}", highlight=False)
    console.print_json(data=facts["manifest"])
