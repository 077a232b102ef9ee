"""The whole main job on a small world: images made here, a teacher pass, students, a table.

Everything lies in one folder, with the config that made it, so that each step can be run again by its own command
(with the same --set, where there was one).
"""

import time
from pathlib import Path
from typing import Any

import typer

from fdbpl.pipeline.clip.tiny import unpack_tiny_checkpoints
from fdbpl.pipeline.clip.world_training import train_clip
from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.datasets.world import World, WorldSpec, make_world
from fdbpl.pipeline.evaluation.regions import KINDS, region_weights
from fdbpl.pipeline.evaluation.report import result_table
from fdbpl.pipeline.presets.preset import write_preset
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow

WORLD_SEED = 0
ROLES = ("teacher", "student")


def run_demo(
    folder: Path, ui: Ui, *, command: str, overrides: tuple[str, ...] = (), retrain: bool = False
) -> dict[str, Any]:
    """Do what is not done yet of the demo in `folder`; everything that it found, as JSON.

    A demo on retrained models is another one, in a folder of its own inside: labels of one teacher never meet
    those of another. `command` is what a person types to go on after a failure.
    """
    started = time.monotonic()
    folder = folder / "retrained" if retrain else folder
    folder.mkdir(parents=True, exist_ok=True)
    ui.say("[bold]1/5[/] a world of small scenes as JPEG files, in the layout of CoOp's data sets")
    world = make_demo_world(folder / "world", ui)
    ui.say("[bold]2/5[/] two tiny CLIPs: a strong teacher and a weaker student")
    make_models(folder / "models", ui, retrain=retrain)
    config_file = folder / "fdbpl.toml"
    if not config_file.exists():
        write_preset(config_file, "tiny")
    config = read_config(config_file, overrides)
    with Workflow(config, ui, command=command) as workflow:
        ui.say("[bold]3/5[/] the teacher, and the student's encoder, run once over every crop: one store")
        taught = workflow.teach()
        features = workflow.features()
        ui.say("[bold]4/5[/] students read that store through memory maps")
        trained = workflow.train()
        ui.say("[bold]5/5[/] evaluation on images that no one has trained on")
        results = workflow.evaluate()
    return {
        **results,
        "store": taught["store"],
        "config": str(config_file),
        "views": taught["views"],
        "views_computed": taught["views_computed"] + sum(features["views_computed"].values()),
        "images_made": world.num_rendered,
        "students_trained": len(trained["trained"]),
        "views_learned_from": trained["views"],
        "regions": region_weights(config.store.path, world.scenes_file),
        "seconds": round(time.monotonic() - started, 1),
    }


def make_demo_world(folder: Path, ui: Ui) -> World:
    """The demo's data set: `folder/images` and `folder/split_world.json`."""
    with ui.bar("make images", "images") as on_progress:
        return make_world(folder, spec=WorldSpec(), seed=WORLD_SEED, on_progress=on_progress)


def make_models(folder: Path, ui: Ui, *, retrain: bool = False) -> dict[str, Path]:
    """The demo's two checkpoints, unpacked from the package, or trained anew into the same place."""
    if not retrain:
        return unpack_tiny_checkpoints(folder)
    checkpoints = {}
    for role in ROLES:
        with ui.bar(f"train {role}", "steps") as on_progress:
            checkpoints[role] = train_clip(role, folder=folder, on_progress=on_progress).checkpoint
    return checkpoints


def show_demo(result: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(result_table(result))
    regions = result["regions"]
    told = ", ".join(f"{kind} {_number(regions[kind]['mean_weight'])}" for kind in KINDS)
    console.print(
        f"How informative the teacher finds a crop (mean weight w), by what the crop shows: {told}; "
        f"AUC of 'shows the main object' {_number(regions['auc'])}"
    )
    typer.echo(
        f"The students learned from {result['views_learned_from']:,} views; the teacher ran for {result['views']:,}."
    )
    typer.echo(
        f"computed now: {result['images_made']} images, {result['views_computed']} views, "
        f"{result['students_trained']} students, in {result['seconds']} s"
    )
    typer.echo(f"store   {result['store']}\nreport  {result['page']}\nconfig  {result['config']}")
    typer.echo(f"look    fdbpl cache info {result['store']}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
