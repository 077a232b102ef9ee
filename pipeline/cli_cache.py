"""`fdbpl cache …`: looking at stores."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.cli import Json, emit
from fdbpl.pipeline.store_commands_copy import register

cache_app = typer.Typer(help="Look at a store of soft labels.", no_args_is_help=True)
register(cache_app)


@cache_app.callback()
def _group() -> None:
    """Look at a store of soft labels."""


@cache_app.command()
def info(
    store: Annotated[Path, typer.Argument(help="the Zarr store")],
    json_: Json = False,
) -> None:
    """What a store holds: manifest, arrays, bytes a view, how far off labels can be, and how complete it is."""
    from fdbpl.pipeline.store_info import store_info

    emit(store_info(store), json_, _show)


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=facts["store"])
    for column in ("array", "shape", "type"):
        table.add_column(column)
    for column in ("bytes a view", "GB a million views"):
        table.add_column(column, justify="right")
    for array in facts["arrays"]:
        sizes = str(array["bytes_per_view"]), f"{array['gb_per_million_views']:.3f}"
        table.add_row(array["name"], str(array["shape"]), array["dtype"], *sizes)
    console = Console()
    console.print(table)
    for name, campaign in facts["campaigns"].items():
        state = "sealed" if campaign["sealed"] else "not sealed"
        console.print(f"{name}: {campaign['blocks_present']} of {campaign['blocks']} blocks, {state}")
    for encoding, bound in facts["labels"].items():
        console.print(f"{encoding}: {bound}", highlight=False)
    console.print(
        f"{facts['images']} images x {facts['seeds']} crop seeds, {facts['bytes_per_view']} bytes a view, "
        f"{facts['bytes_per_view'] / 1000:.2f} GB a million views; {facts['bytes_on_disk']:,} bytes on disk"
    )
    console.print(f"fingerprint {facts['fingerprint']}", highlight=False)
    console.print_json(data=facts["manifest"])
