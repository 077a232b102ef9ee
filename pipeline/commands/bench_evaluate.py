"""`fdbpl bench evaluate`: how fast prompts are tested."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from fdbpl.pipeline.commands.bench_output import show_simple
from fdbpl.pipeline.commands.shared import Json, emit


def evaluate(
    model: Annotated[str, typer.Option(help="open_clip model; its weights are random")] = "ViT-B-32",
    classes: Annotated[int, typer.Option(min=2, help="class names")] = 20,
    images: Annotated[int, typer.Option(min=1, help="test images")] = 400,
    size: Annotated[str, typer.Option(help="width x height of the images")] = "500x375",
    batch: Annotated[int, typer.Option(min=1, help="images of a forward pass")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    seconds: Annotated[float, typer.Option(min=0, help="of a way's turn, at least one evaluation")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each way")] = 3,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and rates.svg")] = None,
    json_: Json = False,
) -> None:
    """Test a prompt on kept features of the test images, beside the images themselves."""
    from fdbpl.pipeline.bench.decode import size_of
    from fdbpl.pipeline.bench.evaluate import EvaluateParameters, bench_evaluate
    from fdbpl.pipeline.bench.simple_output import write_simple
    from fdbpl.pipeline.progress import Ui

    parameters = EvaluateParameters(
        model=model,
        num_classes=classes,
        num_images=images,
        size=size_of(size),
        batch_size=batch,
        device=device,
        seconds=seconds,
        num_rounds=rounds,
    )
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_evaluate(parameters, Path(temporary), Ui(quiet=json_))
    if out is not None:
        write_simple(out, results, value="images_per_s", names=("name",))
    emit(results, json_, show_simple)
