"""`fdbpl bench teacher`, `train` and `kernels`: how fast a teacher labels and students learn, and what losses take."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.bench_output import numbers, show_simple, words
from fdbpl.pipeline.commands.shared import Json, emit


def teacher(
    model: Annotated[str, typer.Option(help="open_clip model; its weights are random")] = "ViT-B-32",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16")] = "fp32",
    size: Annotated[str, typer.Option(help="width x height of the images")] = "500x375",
    images: Annotated[int, typer.Option(min=1, help="JPEG files")] = 32,
    seeds: Annotated[int, typer.Option(min=1, help="crops of each")] = 16,
    batch: Annotated[int, typer.Option(min=1, help="crops of a forward pass")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    decoder: Annotated[str, typer.Option(help="auto, torchvision, dali or pillow")] = "auto",
    compile_: Annotated[bool, typer.Option("--compile", help="run the model through torch.compile")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="whole passes")] = 3,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and rates.svg")] = None,
    json_: Json = False,
) -> None:
    """The teacher pass, from JPEG files to a sealed store, beside its forward pass alone on images in memory."""
    from fdbpl.pipeline.bench.decode import size_of
    from fdbpl.pipeline.bench.simple_output import write_simple
    from fdbpl.pipeline.bench.teacher import TeacherParameters, bench_teacher
    from fdbpl.pipeline.progress import Ui

    parameters = TeacherParameters(
        model=model,
        precision=precision,
        size=size_of(size),
        num_images=images,
        num_seeds=seeds,
        batch_size=batch,
        device=device,
        decoder=decoder,
        compile=compile_,
        num_rounds=rounds,
    )
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_teacher(parameters, Path(temporary), Ui(quiet=json_))
    if out is not None:
        write_simple(out, results, value="views_per_s", names=("name",))
    emit(results, json_, show_simple)


def train(
    student: Annotated[str, typer.Option(help="open_clip model; its weights are random")] = "ViT-B-32",
    teacher: Annotated[str, typer.Option(help="open_clip model; its weights are random")] = "ViT-L-14",
    learner: Annotated[str, typer.Option(help="coop, cocoop, vpt, maple, promptsrc or promptkd")] = "coop",
    objectives: Annotated[str, typer.Option(help="losses, with commas between")] = "kdpl,fdbpl",
    classes: Annotated[int, typer.Option(min=2, help="class names")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="views of a step")] = 32,
    steps: Annotated[int, typer.Option(min=1, help="steps of an epoch")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="crops of each image")] = 2,
    students: Annotated[int, typer.Option(min=1, help="that train together in the last way; 1 leaves it out")] = 16,
    compile_: Annotated[bool, typer.Option("--compile", help="measure the text tower by torch.compile too")] = False,
    size: Annotated[str, typer.Option(help="width x height of the images")] = "500x375",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16, of both models")] = "fp32",
    seconds: Annotated[float, typer.Option(min=0, help="of a way's turn, at least one epoch")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each way")] = 2,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and rates.svg")] = None,
    json_: Json = False,
) -> None:
    """Students' steps with the teacher online, as published, beside ours, each saving by itself."""
    from fdbpl.pipeline.bench.decode import size_of
    from fdbpl.pipeline.bench.simple_output import write_simple
    from fdbpl.pipeline.bench.train import bench_train
    from fdbpl.pipeline.bench.train_ways import TrainParameters
    from fdbpl.pipeline.progress import Ui

    parameters = TrainParameters(
        student=student,
        teacher=teacher,
        learner=learner,
        objectives=words(objectives),
        num_classes=classes,
        batch_size=batch,
        num_steps=steps,
        num_seeds=seeds,
        num_students=students,
        compile=compile_,
        size=size_of(size),
        device=device,
        precision=precision,
        seconds=seconds,
        num_rounds=rounds,
    )
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_train(parameters, Path(temporary), Ui(quiet=json_))
    if out is not None:
        write_simple(out, results, value="steps_per_s", names=("objective", "name"))
    emit(results, json_, _show_train)


def _show_train(results: dict[str, Any]) -> None:
    show_simple(results)
    for one in results["whole"]:
        typer.echo(
            f"{one['objective']}, {one['students']} students, teacher and feature pass paid for: "
            f"{one['ratio_to_online']:g} times as fast as online"
        )


def growth(
    student: Annotated[str, typer.Option(help="open_clip model; its weights are random")] = "ViT-B-32",
    objective: Annotated[str, typer.Option(help="the loss")] = "kdpl",
    classes: Annotated[str, typer.Option(help="class names, one point for each number")] = "50,100,200,500,1000",
    views: Annotated[str, typer.Option(help="views of a step, one point for each number")] = "32,64,128,256",
    students: Annotated[str, typer.Option(help="that train together, one point for each number")] = "1,2,4,8",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16")] = "fp32",
    seconds: Annotated[float, typer.Option(min=0, help="of a point, at least one epoch")] = 5.0,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and growth.svg")] = None,
    json_: Json = False,
) -> None:
    """How a step's time and memory grow with classes, views and students, beside the bound of its operations."""
    from fdbpl.pipeline.bench.growth import GrowthParameters, bench_growth
    from fdbpl.pipeline.bench.growth_plot import plot_growth
    from fdbpl.pipeline.bench.simple_output import write_rows
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.whole_file import replace_file

    parameters = GrowthParameters(
        student=student,
        objective=objective,
        classes=numbers(classes, "--classes"),
        views=numbers(views, "--views"),
        students=numbers(students, "--students"),
        device=device,
        precision=precision,
        seconds=seconds,
    )
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_growth(parameters, Path(temporary), Ui(quiet=json_))
    if out is not None:
        write_rows(out, results)
        replace_file(out / "growth.svg", plot_growth(results))
    emit(results, json_, show_simple)


def kernels(
    kernels: Annotated[str, typer.Option(help="names, separated by commas, or all")] = "all",
    batch: Annotated[str, typer.Option(help="crops, one measurement for each number")] = "32,128",
    classes: Annotated[str, typer.Option(help="classes, one measurement for each number")] = "16,100,500,1000",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    seconds: Annotated[float, typer.Option(min=0, help="of a way's turn, at least one call")] = 0.2,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each way")] = 5,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and rates.svg")] = None,
    json_: Json = False,
) -> None:
    """Losses by their fast kernels beside plain torch, forward and backward; what differs is refused."""
    from fdbpl.pipeline.bench.kernel_cases import CASES
    from fdbpl.pipeline.bench.kernels import KernelParameters, bench_kernels
    from fdbpl.pipeline.bench.simple_output import write_simple
    from fdbpl.pipeline.progress import Ui

    parameters = KernelParameters(
        kernels=tuple(CASES) if kernels == "all" else words(kernels),
        batches=numbers(batch, "--batch"),
        classes=numbers(classes, "--classes"),
        device=device,
        seconds=seconds,
        num_rounds=rounds,
    )
    results = bench_kernels(parameters, Ui(quiet=json_))
    if out is not None:
        write_simple(out, results, value="us", names=("kernel", "batch", "classes", "way"))
    emit(results, json_, show_simple)
