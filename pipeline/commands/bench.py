"""`fdbpl bench …`: how fast stored labels are read and crops are cut, beside other ways to do it."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from fdbpl.pipeline.commands.bench_evaluate import evaluate
from fdbpl.pipeline.commands.bench_output import numbers, show_simple, words
from fdbpl.pipeline.commands.bench_speed import growth, kernels, teacher, train
from fdbpl.pipeline.commands.bench_start import start
from fdbpl.pipeline.commands.shared import Json, emit
from fdbpl.pipeline.exit_codes import FOUND_SOMETHING

bench_app = typer.Typer(
    help="Measure how fast labels are read, crops are cut, teachers label and students learn.", no_args_is_help=True
)


@bench_app.callback()
def _group() -> None:
    """Measure how fast labels are read, crops are cut, teachers label and students learn."""


bench_app.command()(teacher)
bench_app.command()(train)
bench_app.command()(growth)
bench_app.command()(kernels)
bench_app.command()(evaluate)
bench_app.command()(start)


@bench_app.command()
def cache(
    images: Annotated[int, typer.Option(help="images of the test data")] = 16384,
    seeds: Annotated[int, typer.Option(help="crop seeds of an image")] = 16,
    classes: Annotated[int, typer.Option(help="float16 values of a row")] = 1000,
    batch: Annotated[int, typer.Option(help="random views of a batch")] = 256,
    processes: Annotated[str, typer.Option(help="how many read at once, one measurement for each")] = "1,2,4,8",
    states: Annotated[str, typer.Option(help="warm: files in memory; cold: evicted first")] = "warm,cold",
    patterns: Annotated[str, typer.Option(help="random: any views; plane: all images of a seed")] = "random,plane",
    readers: Annotated[str, typer.Option(help="names, separated by commas, or all")] = "all",
    seconds: Annotated[float, typer.Option(help="for each reader in each measurement")] = 2.0,
    folder: Annotated[
        Path | None, typer.Option(help="where test data are put and kept (default: a temporary folder, removed)")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and rates.svg")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="tell the bytes to be written and the free space")] = False,
    json_: Json = False,
) -> None:
    """Read the same random labels by fdbpl, numpy, zarr-python, tensorstore, h5py, LMDB and torch pickles."""
    from fdbpl.pipeline.bench.data import Data
    from fdbpl.pipeline.bench.parameters import BenchParameters
    from fdbpl.pipeline.bench.peers.all_peers import NAMES

    parameters = BenchParameters(
        data=Data(num_images=images, num_seeds=seeds, num_classes=classes),
        readers=NAMES if readers == "all" else words(readers),
        patterns=words(patterns),
        states=words(states),
        processes=numbers(processes, "--processes"),
        batch=batch,
        seconds=seconds,
    )
    if folder is not None:
        _bench(parameters, folder, out, dry_run=dry_run, json_=json_)
        return
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        _bench(parameters, Path(temporary), out, dry_run=dry_run, json_=json_)


@bench_app.command()
def decode(
    backends: Annotated[
        str,
        typer.Option(help="torchvision, dali, pillow (our decoders), and spdl, skipped where it is missing"),
    ] = "torchvision,dali,pillow,spdl",
    sizes: Annotated[str, typer.Option(help="width x height of the images")] = "500x375,2000x1500",
    crops: Annotated[str, typer.Option(help="crops of an image")] = "1,16",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="threads, or worker processes (default: cores)")] = None,
    images: Annotated[int, typer.Option(min=1, help="files of each size")] = 32,
    seconds: Annotated[float, typer.Option(help="of each way in each of three rounds")] = 2.0,
    out: Annotated[Path | None, typer.Option(help="gets results.json, results.csv and rates.svg")] = None,
    json_: Json = False,
) -> None:
    """Cut crops from JPEG files: our decoders, once for all crops of an image and once for each, beside SPDL, and
    Pillow in the workers of a DataLoader."""
    from fdbpl.pipeline.bench.decode import DecodeParameters, bench_decode, size_of
    from fdbpl.pipeline.bench.simple_output import write_simple
    from fdbpl.pipeline.progress import Ui

    parameters = DecodeParameters(
        backends=words(backends),
        sizes=tuple(map(size_of, words(sizes))),
        crops=numbers(crops, "--crops"),
        device=device,
        num_images=images,
        seconds=seconds,
        **({} if workers is None else {"workers": workers}),
    )
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_decode(parameters, Path(temporary), Ui(quiet=json_))
    if out is not None:
        write_simple(out, results, value="crops_per_s", names=("backend", "workload", "image_size", "crops_per_image"))
    emit(results, json_, _show_decode)


@bench_app.command()
def agreement(
    backends: Annotated[str, typer.Option(help="decoders to compare with Pillow")] = "torchvision,dali",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where they deliver to, and DALI decodes")] = "auto",
    images: Annotated[int, typer.Option(min=1, help="varied JPEG files, 60 to 3000 pixels a side")] = 500,
    windows: Annotated[int, typer.Option(min=1, help="windows of each")] = 8,
    model: Annotated[str, typer.Option(help="open_clip model whose features are compared")] = "ViT-S-32-alt",
    pretrained: Annotated[str, typer.Option(help="its weights: a tag, or a checkpoint file (default: random)")] = "",
    json_: Json = False,
) -> None:
    """How far each decoder's crops are from Pillow's, in grey levels and in features; exit 1 where one is too far."""
    from fdbpl.pipeline.bench.agreement import SHIFTED, AgreementParameters, bench_agreement
    from fdbpl.pipeline.progress import Ui

    parameters = AgreementParameters(
        backends=words(backends),
        device=device,
        num_images=images,
        num_windows=windows,
        model=model,
        pretrained=pretrained,
    )
    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_agreement(parameters, Path(temporary), Ui(quiet=json_))
    emit(results, json_, show_simple)
    # The shifted windows are the proof that the comparison notices a wrong one.
    if any(row["agrees"] == (row["backend"] == SHIFTED) for row in results["results"]):
        raise typer.Exit(FOUND_SOMETHING)


@bench_app.command()
def gpu(
    images: Annotated[int, typer.Option(min=1, help="varied JPEG files that decoders are compared on")] = 500,
    out: Annotated[Path | None, typer.Option(help="JSON file for the results")] = None,
    json_: Json = False,
) -> None:
    """What a CUDA device must show: agreement, exact replay, loops without waiting, the pass's share of the forward
    pass, memory; exit 1 where a check fails."""
    from fdbpl.pipeline.bench.gpu_check import GpuParameters, bench_gpu
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.whole_file import replace_json

    with tempfile.TemporaryDirectory(prefix="fdbpl-bench-") as temporary:
        results = bench_gpu(GpuParameters(num_images=images), Path(temporary), Ui(quiet=json_))
    if out is not None:
        replace_json(out, results)
    emit(results, json_, show_simple)
    if not all(row["passed"] for row in results["results"]):
        raise typer.Exit(FOUND_SOMETHING)


def _show_decode(results: dict[str, Any]) -> None:
    show_simple(results)
    for one in results["skipped"]:
        typer.echo(f"{one['backend']} was skipped: {one['reason']}; {one['install']}")
    for note in results["notes"]:
        typer.echo(f"note: {note}")


def _bench(parameters: Any, folder: Path, out: Path | None, *, dry_run: bool, json_: bool) -> None:
    from fdbpl.pipeline.bench.output import write_results
    from fdbpl.pipeline.bench.run import plan_bench, run_bench
    from fdbpl.pipeline.progress import Ui

    if dry_run:
        plan = plan_bench(parameters, folder)
        emit(plan, json_, _show_plan)
        if not plan["fits"]:
            raise typer.Exit(FOUND_SOMETHING)
        return
    results = run_bench(parameters, folder, Ui(quiet=json_))
    if out is not None:
        write_results(out, results)
    emit(results, json_, _show)


def _show_plan(plan: dict[str, Any]) -> None:
    for name, size in plan["formats"].items():
        typer.echo(f"{size / 1e9:8.2f} GB  {name}")
    fits = "it fits" if plan["fits"] else "it does not fit"
    typer.echo(
        f"{plan['bytes_to_write'] / 1e9:8.2f} GB to be written to {plan['folder']}, {plan['bytes_free'] / 1e9:.2f} GB "
        f"free: {fits}; {plan['seconds_of_reading']:.0f} s of reading or more"
    )
    for one in plan["skipped"]:
        typer.echo(f"{one['reader']} would be skipped: {one['reason']}; {one['install']}")


def _show(results: dict[str, Any]) -> None:
    from rich.console import Console

    from fdbpl.pipeline.bench.table import result_tables

    console = Console(highlight=False)
    for table in result_tables(results):
        console.print(table)
    if memory := results["memory"]:
        console.print(
            f"memory: {memory['processes']} processes that have read the whole store take {memory['ratio']:.3f} of its "
            f"{memory['file_bytes'] / 1e6:.0f} MB together"
        )
    for one in results["skipped"]:
        console.print(f"{one['reader']} was skipped: {one['reason']}; {one['install']}", markup=False)
    for note in results["notes"]:
        console.print(f"note: {note}")
