"""`fdbpl bench growth`: what a student's step costs as classes, views and students grow, beside the model of that cost.

The model is arithmetic: a step's operations, at the rate of this machine's large matrix products. Text prompts are a
sum over classes of the positions in which their names differ, so operations grow in a line with classes and with
students, and hardly with views: what is left when labels and features are stored is the prompts. Bytes are those of the
store's rows.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fdbpl.cache_layout.encodings import label_arrays
from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.operations import DTYPES, matrix_rate, operations
from fdbpl.pipeline.bench.peak_memory import peak_bytes
from fdbpl.pipeline.bench.small_run import feature_pass, teacher_pass
from fdbpl.pipeline.bench.train_ways import TEXTS, TOGETHER, TrainParameters, make_ways, ways_config
from fdbpl.pipeline.clip.backbone import embedding_width
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed

AXES = ("classes", "views", "students")
# A view's window: four integers and whether it is mirrored.
_WINDOW_BYTES = 17
# Of the kept classes of topk labels, where the store's size is told.
_TOP_K = 16


@dataclass(frozen=True, kw_only=True)
class GrowthParameters:
    """What is measured: along each axis its values, with the first ones of the others.

    Attributes:
        student: open_clip model; its weights are random.
        objective: the loss.
        classes, views, students: values of the axes: class names, views of a step, students that train together.
        device, precision: as of `fdbpl bench train`.
        seconds: of a point, at least two epochs.
    """

    student: str = "ViT-B-32"
    objective: str = "kdpl"
    classes: tuple[int, ...] = (50, 100, 200, 500, 1000)
    views: tuple[int, ...] = (32, 64, 128, 256)
    students: tuple[int, ...] = (1, 2, 4, 8)
    device: str = "auto"
    precision: str = "fp32"
    seconds: float = 5.0

    def values(self, axis: str) -> tuple[int, ...]:
        return {"classes": self.classes, "views": self.views, "students": self.students}[axis]


def bench_growth(parameters: GrowthParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure every point once; everything is put into `folder`.

    Returns:
        machine, threads, parameters, matrix_rate (operations a second); results: a list of {axis, value,
        seconds_per_step, bound_seconds, operations_per_step, peak_memory_bytes}, of one student's part of a step, the
        memory of all; store: a list of {classes, labels, bytes_per_view, gb_for_1e8_views}.

    Raises:
        ValueError: an unknown model, loss or device, or more class names than there are.
    """
    device = choose_device(parameters.device)
    rate = matrix_rate(device, DTYPES[parameters.precision])
    points = [(axis, value) for axis in AXES for value in parameters.values(axis)]
    results = []
    with ui.bar("measure", "points") as on_progress:
        for number, (axis, value) in enumerate(points):
            at = {name: parameters.values(name)[0] for name in AXES} | {axis: value}
            found = _point(parameters, at, folder / f"{axis}-{value}")
            bound = found["operations_per_step"] / rate
            results.append({"axis": axis, "value": value, **found, "bound_seconds": round(bound, 6)})
            on_progress(number + 1, len(points))
    return {
        "machine": machine(installed(("torch", "open_clip_torch")), folder, device),
        "threads": torch.get_num_threads(),
        "parameters": asdict(parameters),
        "matrix_rate": round(rate),
        "results": results,
        "store": [row for number in parameters.classes for row in _store(number, embedding_width(parameters.student))],
    }


def _point(parameters: GrowthParameters, at: Mapping[str, int], folder: Path) -> dict[str, Any]:
    """Of students on stored labels and features, whose teacher is of their own model: it does not run."""
    ways = TrainParameters(
        student=parameters.student,
        teacher=parameters.student,
        objectives=(parameters.objective,),
        num_classes=at["classes"],
        batch_size=at["views"],
        num_seeds=1,
        num_students=at["students"],
        precision=parameters.precision,
        device=parameters.device,
    )
    config = ways_config(ways, folder, only=TOGETHER if at["students"] > 1 else TEXTS)
    teacher_pass(config)
    feature_pass(config)
    with open_reader(config.store.path) as reader:
        (way,) = make_ways(config, parameters.objective, reader).values()
        try:
            memory = peak_bytes(way.epoch, choose_device(parameters.device))
            counted = operations(way.epoch) / way.steps_per_epoch
            steps, started = 0, time.perf_counter()
            while not steps or time.perf_counter() - started < parameters.seconds:
                steps += way.epoch()
            seconds = (time.perf_counter() - started) / steps
        finally:
            way.close()
    return {
        "seconds_per_step": round(seconds, 6),
        "operations_per_step": round(counted),
        "peak_memory_bytes": memory,
    }


def _store(num_classes: int, width: int) -> list[dict[str, Any]]:
    """Bytes of a view's row in each encoding, with its window and a student's features of the same width."""
    rows = []
    for labels in ("embedding", "logits", "topk"):
        specs = label_arrays([labels], width=width, num_classes=num_classes, top_k=min(_TOP_K, num_classes))
        num_bytes = _WINDOW_BYTES + 2 * width + sum(spec.row_bytes for spec in specs)
        rows.append(
            {
                "classes": num_classes,
                "labels": labels,
                "bytes_per_view": num_bytes,
                "gb_for_1e8_views": round(num_bytes / 10, 1),
            }
        )
    return rows
