"""What commands share: their common arguments, the one place that prints results, and the line as it was typed."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

CONFIG_FILE = Path("fdbpl.toml")
Config = Annotated[Path, typer.Argument(help="the run's TOML file; `fdbpl init` writes one")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout and nothing else")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override one key of the config, e.g. crops.seeds=8"),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="where tasks run: auto, local or slurm (default: as the config says)",
        autocompletion=lambda: ["auto", "local", "slurm"],
    ),
]


def emit(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """The one place where a command's result is printed."""
    if as_json:
        typer.echo(json.dumps(result, indent=1))
    else:
        show(result)


def typed() -> str:
    """The command as it was typed, to be typed again."""
    return shlex.join(["fdbpl", *sys.argv[1:]])


def overrides(set_: list[str] | None, cluster: str | None, profile: str | None = None) -> tuple[str, ...]:
    """What flags change of the config, as key=value."""
    flags = {"cluster.kind": cluster, "cluster.profile": profile}
    return (*(set_ or ()), *(f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None))
