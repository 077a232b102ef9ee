"""`fdbpl bench gpu`: what a CUDA device must show before its labels are trusted and its speed is believed.

Agreement of crops decoded there with Pillow's, exact replay, losses' kernels that give what plain torch gives, no
waiting in the loops, the teacher pass beside its forward pass, and memory. Each check has what was found, a bound where
there is one, and whether it passed.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fdbpl.pipeline.bench import agreement
from fdbpl.pipeline.bench.agreement import AgreementParameters, bench_agreement
from fdbpl.pipeline.bench.gpu_training import training_figures
from fdbpl.pipeline.bench.gpu_waits import teacher_waits, training_waits
from fdbpl.pipeline.bench.kernel_cases import CASES, Size
from fdbpl.pipeline.bench.kernels import SAME, largest_differences, measure
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.teacher import PASS, TeacherParameters, bench_teacher
from fdbpl.pipeline.bench.train_ways import TrainParameters
from fdbpl.pipeline.bench.varied_images import make_varied_images
from fdbpl.pipeline.clip.backbone import forget_backbones, load_backbone, random_checkpoint
from fdbpl.pipeline.config import ModelConfig, Precision
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.loading.decoder import LARGEST_DIFFERENCE, MEAN_DIFFERENCE, make_decoder
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed

MIN_SHARE = 0.9
# A bit of the arithmetic's values, as they are summed up in another order.
MAX_ROW: dict[Precision, float] = {"fp32": 1e-5, "bf16": 1e-2}
Check = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GpuParameters:
    """What is checked.

    Attributes:
        device: cuda; or cpu, to try the checks themselves where there is no GPU.
        num_images: varied files that decoders are compared on.
        model: of the features that are compared; student: of the steps that are looked at.
        teachers: (model, precision, compile) whose pass is measured.
        pass_images, seeds, batch_size: of these passes.
        decoders: that are compared; passes are all measured with the first, plain half precision with each.
        kernel_sizes: (batch, classes) at which the losses' kernels are compared with plain torch.
    """

    device: str = "cuda"
    num_images: int = 500
    model: str = "ViT-B-32"
    student: str = "ViT-B-32"
    training_teacher: str = "ViT-L-14"
    teachers: tuple[tuple[str, str, bool], ...] = (
        ("ViT-B-32", "fp32", False),
        ("ViT-B-32", "bf16", False),
        ("ViT-L-14", "bf16", False),
        ("ViT-L-14", "bf16", True),
    )
    pass_images: int = 256
    seeds: int = 16
    batch_size: int = 256
    decoders: tuple[str, ...] = ("dali", "torchvision")
    training: tuple[tuple[int, str], ...] = ((50, "fp32"), (100, "bf16"), (1000, "bf16"))
    kernel_sizes: tuple[tuple[int, int], ...] = ((32, 100), (128, 500), (64, 20930))


def bench_gpu(parameters: GpuParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Run all checks; test data are put into `folder`.

    Returns:
        machine, parameters, results: a list of {check, found, bound, passed}; the bound is None where a figure is only
        told.

    Raises:
        ValueError: no usable GPU here.
    """
    choose_device(parameters.device)
    results: list[Check] = []
    for checks in (_agreement, _replay, _rows, _kernels, _waits, _training, _passes):
        for one in checks(parameters, folder, ui):
            results.append(one)
            ui.say(f"{'passed' if one['passed'] else 'FAILED'}  {one['check']}: {one['found']}")
    versions = installed(("torch", "torchvision", "triton", "open_clip_torch", "pillow", "nvidia-dali-cuda130"))
    return {
        "machine": machine(versions, folder, parameters.device),
        "parameters": asdict(parameters),
        "results": results,
    }


def _check(name: str, found: Any, bound: str | None = None, passed: bool = True) -> Check:
    return {"check": name, "found": found, "bound": bound, "passed": passed}


def _agreement(parameters: GpuParameters, folder: Path, ui: Ui) -> Iterator[Check]:
    compared = bench_agreement(
        AgreementParameters(
            backends=parameters.decoders,
            device=parameters.device,
            num_images=parameters.num_images,
            model=parameters.model,
        ),
        folder,
        ui,
    )
    for row in compared["results"]:
        for key, bound in (
            ("largest_mean_difference", MEAN_DIFFERENCE),
            ("largest_difference", LARGEST_DIFFERENCE),
            ("largest_feature_difference", agreement.MAX_FEATURE),
        ):
            name = f"{row['backend']} against pillow, {row['crops']} crops: {key.replace('_', ' ')}"
            if row["backend"] == agreement.SHIFTED:
                yield _check(name, row[key], f"above {bound}", row[key] > bound)
            else:
                yield _check(name, row[key], f"at most {bound}", row[key] <= bound)


def _replay(parameters: GpuParameters, folder: Path, ui: Ui) -> Iterator[Check]:
    """The same views as K crops of each image, and one at a time in another order, as students ask for them."""
    images = make_varied_images(folder / "varied", parameters.num_images, 8).part(range(32))
    order = np.random.default_rng(1).permutation(len(images.image_B))
    for name in parameters.decoders:
        decoder = make_decoder(name, parameters.device)
        together = decoder.windows(images.paths, images.image_B, images.boxes_B4, images.flips_B, 224)
        different = 0
        for start in range(0, len(order), 24):
            b = order[start : start + 24]
            files = [images.paths[image] for image in images.image_B[b]]
            alone = decoder.windows(files, np.arange(len(b)), images.boxes_B4[b], images.flips_B[b], 224)
            different += int((alone != together[torch.from_numpy(b).to(alone.device)]).sum())
        yield _check(f"{name}: values that a crop has otherwise in another batch", different, "0", different == 0)


def _rows(parameters: GpuParameters, folder: Path, ui: Ui) -> Iterator[Check]:
    """What a model says of a crop, at other places of a batch: by how much any value of a unit feature differs."""
    weights = str(random_checkpoint(parameters.student, folder / "rows" / "model.safetensors"))
    for precision, bound in MAX_ROW.items():
        config = ModelConfig(model=parameters.student, pretrained=weights, precision=precision)
        model = load_backbone(config, parameters.device)
        pixels = torch.randint(0, 256, (64, 3, model.image_size, model.image_size)).to(torch.uint8)
        difference = (model.encode_pixels(pixels) - model.encode_pixels(pixels.flip(0)).flip(0)).abs().max().item()
        name = f"{parameters.student} {precision}: a row at another place of its batch, largest difference"
        yield _check(name, float(f"{difference:.2g}"), f"at most {bound}", difference <= bound)


def _kernels(parameters: GpuParameters, folder: Path, ui: Ui) -> Iterator[Check]:
    """The losses' kernels beside plain torch: by how much they differ, and how many times as fast they are."""
    for batch, classes in parameters.kernel_sizes:
        size = Size(batch=batch, classes=classes, device=parameters.device)
        for kernel, case in CASES.items():
            name = f"{kernel}, {batch} crops, {classes} classes"
            difference = max(largest_differences(case(size)).values())
            yield _check(f"{name}: difference", float(f"{difference:.2g}"), f"at most {SAME}", difference <= SAME)
            if difference <= SAME:
                row = measure(kernel, size, seconds=0.1, num_rounds=3)[-1]
                yield _check(f"{name}: us", row["us"])
                yield _check(f"{name}: times as fast as plain torch", row["ratio_to_reference"])


def _waits(parameters: GpuParameters, folder: Path, ui: Ui) -> Iterator[Check]:
    for name, waits in training_waits(parameters.student, parameters.device, folder / "waits"):
        yield _check(name, _places(waits), "none", not waits)
    waits = teacher_waits(parameters.student, parameters.device, folder / "waits" / "teacher")
    yield _check("teacher pass: waits in beginning a batch", _places(waits), "none", not waits)


def _training(parameters: GpuParameters, folder: Path, ui: Ui) -> Iterator[Check]:
    for num_classes, precision in parameters.training:
        forget_backbones()
        figures = TrainParameters(
            student=parameters.student,
            teacher=parameters.training_teacher,
            num_classes=num_classes,
            num_steps=8,
            precision=precision,
            compile=True,
            device=parameters.device,
        )
        for one in training_figures(figures, folder / f"train-{num_classes}", ui):
            yield _check(one.name, one.found, None if one.least is None else f"at least {one.least}", one.passed)


def _places(waits: list[str]) -> str:
    return ", ".join(sorted(set(waits))) or "none"


def _passes(parameters: GpuParameters, folder: Path, ui: Ui) -> Iterator[Check]:
    for model, precision, is_compiled in parameters.teachers:
        for decoder in parameters.decoders:
            if decoder != parameters.decoders[0] and (is_compiled or precision == "fp32"):
                continue
            forget_backbones()
            if parameters.device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            measured = bench_teacher(
                TeacherParameters(
                    model=model,
                    precision=precision,
                    compile=is_compiled,
                    num_images=parameters.pass_images,
                    num_seeds=parameters.seeds,
                    batch_size=parameters.batch_size,
                    device=parameters.device,
                    decoder=decoder,
                ),
                folder / model,
                ui,
            )
            (row,) = [one for one in measured["results"] if one["name"] == PASS]
            title = f"{model} {precision}{' compiled' if is_compiled else ''}, {decoder}, batches of "
            title += str(parameters.batch_size)
            share = row["share_of_forward"]
            yield _check(f"{title}: teacher pass, views/s", row["views_per_s"])
            yield _check(f"{title}: share of the forward pass", share, f"at least {MIN_SHARE}", share >= MIN_SHARE)
            if parameters.device == "cuda":
                peak = torch.cuda.max_memory_allocated() / 2**30
                yield _check(f"{title}: peak of torch's memory, GiB", round(peak, 2))
                free, total = torch.cuda.mem_get_info()
                # DALI's memory is not torch's.
                yield _check(f"{title}: memory in use on the device, GiB", round((total - free) / 2**30, 2))
