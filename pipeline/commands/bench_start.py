"""`fdbpl bench start`: how long commands and students' tasks take to begin."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from fdbpl.pipeline.commands.bench_output import show_simple
from fdbpl.pipeline.commands.shared import Json, emit


def start(
    student: Annotated[str, typer.Option(help="open_clip model; its weights are random")] = "ViT-B-32",
    teacher: Annotated[str, typer.Option(help="open_clip model; its weights are random")] = "ViT-L-14",
    classes: Annotated[int, typer.Option(min=2, help="class names")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="views of a step")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="processes of each kind")] = 5,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and rates.svg")] = None,
    json_: Json = False,
) -> None:
    """From a process's start to a command's help, and to a student's first step, phase by phase."""
    from fdbpl.pipeline.bench.simple_output import write_simple
    from fdbpl.pipeline.bench.start import StartParameters, bench_start
    from fdbpl.pipeline.progress import Ui

    parameters = StartParameters(
        student=student,
        teacher=teacher,
        num_classes=classes,
        batch_size=batch,
        device=device,
        num_rounds=rounds,
    )
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_start(parameters, Path(temporary), Ui(quiet=json_))
    if out is not None:
        write_simple(out, results, value="seconds", names=("name",))
    emit(results, json_, show_simple)
