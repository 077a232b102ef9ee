"""`fdbpl world …`: the miniature world of the demo, and the training of its two CLIPs."""

from pathlib import Path
from typing import Annotated

import typer

from fdbpl.pipeline.commands.shared import Json, emit

world_app = typer.Typer(help="The miniature world of the demo, and its tiny CLIPs.", no_args_is_help=True)


@world_app.command()
def make(
    folder: Annotated[Path, typer.Argument(help="gets `world/` with the images and `models/` with checkpoints")],
    json_: Json = False,
) -> None:
    """Make the demo's images and unpack its checkpoints, so that `fdbpl init --preset tiny` beside them runs."""
    from fdbpl.pipeline.demo import make_demo_world, make_models
    from fdbpl.pipeline.progress import Ui

    ui = Ui(quiet=json_)
    world = make_demo_world(folder / "world", ui)
    models = make_models(folder / "models", ui)
    result = {
        "images": str(world.image_folder),
        "split": str(world.split_file),
        "images_made": world.num_rendered,
        **{role: str(path) for role, path in models.items()},
    }
    emit(result, json_, lambda r: typer.echo("\n".join(f"{key}: {value}" for key, value in r.items())))


@world_app.command()
def train(
    folder: Annotated[Path, typer.Argument(help="where checkpoints and their records are written")],
    role: Annotated[str, typer.Option(help="teacher, student, or both")] = "both",
    seed: Annotated[int, typer.Option(help="seed of weights, images and captions")] = 0,
    json_: Json = False,
) -> None:
    """Train the tiny CLIPs on captions of the world: seeded, recorded, and resumable."""
    from fdbpl.pipeline.clip.world_training import train_clip
    from fdbpl.pipeline.demo import ROLES
    from fdbpl.pipeline.progress import Ui

    if role not in (*ROLES, "both"):
        raise ValueError(f"found --role {role}, expected teacher, student or both")
    ui = Ui(quiet=json_)
    result = {}
    for one in ROLES if role == "both" else (role,):
        with ui.bar(f"train {one}", "steps") as on_progress:
            trained = train_clip(one, folder=folder, seed=seed, on_progress=on_progress)
        result[one] = {"checkpoint": str(trained.checkpoint), "record": dict(trained.record)}
    emit(result, json_, lambda r: typer.echo("\n".join(f"{k}: {v['checkpoint']}" for k, v in r.items())))
