"""What comes before a run: the demo, what is installed, and a config to start from."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import CONFIG_FILE, Cluster, Json, Set, emit, overrides, typed
from fdbpl.pipeline.exit_codes import FOUND_SOMETHING


def demo(
    folder: Annotated[Path, typer.Option(help="where everything of the demo is kept")] = Path("demo"),
    retrain: Annotated[
        bool, typer.Option(help="train the two tiny CLIPs anew (about 20 minutes) in place of the shipped ones")
    ] = False,
    set_: Set = None,
    cluster: Cluster = None,
    json_: Json = False,
) -> None:
    """Make a small world of JPEG files and run the whole main job on it. Run it again: it goes on, or is done."""
    from fdbpl.pipeline.demo import run_demo, show_demo
    from fdbpl.pipeline.progress import Ui

    changes = overrides(set_, cluster)
    emit(run_demo(folder, Ui(quiet=json_), command=typed(), overrides=changes, retrain=retrain), json_, show_demo)


_PRESETS = "base-to-new, few-shot, cross-dataset, domain-generalisation, methods (every learner), or tiny (on a laptop)"


def _presets() -> list[str]:
    from fdbpl.pipeline.presets.preset import PRESETS

    return list(PRESETS)


def init(
    path: Annotated[Path, typer.Argument(help="file to write")] = CONFIG_FILE,
    preset: Annotated[str, typer.Option(help=_PRESETS, autocompletion=_presets)] = "base-to-new",
    data: Annotated[
        Path | None, typer.Option(help="your data set, e.g. a folder with a folder of images for each class")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a complete, commented config file to start from; with --data one that is ready to run."""
    from fdbpl.pipeline.presets.start import write_start

    emit(write_start(path, preset, data), json_, _show_start)


def _show_start(result: dict[str, Any]) -> None:
    typer.echo("\n".join([f"wrote {result['config']}", *result["fitted"]]))
    if result["data"] is not None:
        typer.echo(f"next: fdbpl plan {result['config']}, or fdbpl submit {result['config']} --watch")


def doctor(json_: Json = False) -> None:
    """What is installed, what is missing, and the command that mends it."""
    from fdbpl.pipeline.doctor import examine, show_examination

    result = examine()
    emit(result, json_, show_examination)
    if not result["healthy"]:
        raise typer.Exit(FOUND_SOMETHING)
