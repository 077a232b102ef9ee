"""Commands for prompts that are trained: export, predict, import-prompts. They need the file of prompts alone."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import Json, emit
from fdbpl.pipeline.exit_codes import FOUND_SOMETHING

Prompts = Annotated[Path, typer.Argument(help="a student's prompts.safetensors")]
Classes = Annotated[
    Path | None, typer.Option(help="file of class names, one a line (default: those that were trained on)")
]
Pretrained = Annotated[
    str | None, typer.Option(help="weights of the model, where they lie elsewhere than they did in training")
]
Teacher = Annotated[str | None, typer.Option(help="the same of the teacher, for learners that use its texts")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]


def export(
    prompts: Prompts,
    out: Annotated[Path, typer.Option(help="file to write: .safetensors, or .npy with the names beside it in .txt")],
    classes: Classes = None,
    pretrained: Pretrained = None,
    teacher: Teacher = None,
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """The text classifier of learned prompts as a plain matrix (classes x width), for use from open_clip alone."""
    from fdbpl.pipeline.datasets.name_list import read_names
    from fdbpl.pipeline.device import choose_device
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.training.saved_learner import load_learner
    from fdbpl.pipeline.use.export import export_classifier

    with Ui(quiet=json_).busy("texts of all classes"):
        learner, use = load_learner(prompts, choose_device(device), pretrained=pretrained, teacher=teacher)
        names = read_names(classes) if classes is not None else use.class_names
        result = export_classifier(learner, use, names, out)
    emit(
        result,
        json_,
        lambda r: typer.echo(
            f"{', '.join(r['files'])}: {r['classes']} classes of width {r['width']}, for {r['model']}"
        ),
    )


def predict(
    images: Annotated[list[Path], typer.Argument(help="image files")],
    prompts: Annotated[Path, typer.Option(help="a student's prompts.safetensors")],
    classes: Classes = None,
    top: Annotated[int, typer.Option(min=1, help="classes told of each image")] = 5,
    pretrained: Pretrained = None,
    teacher: Teacher = None,
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """The likeliest classes of images by learned prompts. Exit code 1 where an image cannot be read."""
    from fdbpl.pipeline.datasets.name_list import read_names
    from fdbpl.pipeline.device import choose_device
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.training.saved_learner import load_learner
    from fdbpl.pipeline.use import predict as predicting

    learner, use = load_learner(prompts, choose_device(device), pretrained=pretrained, teacher=teacher)
    names = read_names(classes) if classes is not None else use.class_names
    found = []
    with Ui(quiet=json_).bar("predict", "images") as on_progress:
        for one in predicting.predict(learner, names, images, top=top):
            found.append(one)
            on_progress(len(found), len(images))
    emit({"predictions": found}, json_, _show_predictions)
    if any("error" in one for one in found):
        raise typer.Exit(FOUND_SOMETHING)


def import_prompts(
    checkpoint: Annotated[Path, typer.Argument(help="a public checkpoint, such as model.pth.tar-50")],
    out: Annotated[Path, typer.Option(help="file of prompts to write")],
    model: Annotated[str, typer.Option(help="open_clip's name of the CLIP that they were learned on")],
    pretrained: Annotated[str, typer.Option(help="its weights: a tag of open_clip, or a checkpoint file")],
    classes: Annotated[Path, typer.Option(help="file of the class names trained on, one a line, in their order")],
    learner: Annotated[str, typer.Option(help="what learned them: coop or cocoop")] = "coop",
    class_position: Annotated[str, typer.Option(help="where the class name stands: end, middle or front")] = "end",
    json_: Json = False,
) -> None:
    """Read prompts that public code has learned (CoOp, CoCoOp, and KDPL on these); nothing in the file is run."""
    from fdbpl.pipeline.config import ModelConfig
    from fdbpl.pipeline.datasets.name_list import read_names
    from fdbpl.pipeline.use.public_checkpoint import import_checkpoint

    result = import_checkpoint(
        checkpoint,
        out,
        model=ModelConfig(model=model, pretrained=pretrained),
        class_names=read_names(classes),
        learner=learner,
        class_position=class_position,
    )
    emit(
        result, json_, lambda r: typer.echo(f"{r['prompts']}: {', '.join(f'{k} {v}' for k, v in r['tensors'].items())}")
    )


def _show_predictions(result: dict[str, Any]) -> None:
    for one in result["predictions"]:
        if "error" in one:
            typer.echo(f"{one['image']}: cannot be read: {one['error']}")
            continue
        told = ", ".join(f"{found['name']} {found['probability']:.3f}" for found in one["classes"])
        accepted = f" (accepted {one['accepted']:.3f})" if "accepted" in one else ""
        typer.echo(f"{one['image']}: {told}{accepted}")
