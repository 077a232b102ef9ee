"""`fdbpl bench kernels`: each fast kernel beside its reference, forward and backward.

That both give the same is checked before anything is timed; then they take turns. On a GPU what is timed is many calls,
queued one behind the other, until the last has ended.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdbpl.pipeline.bench.kernel_cases import CASES, DOUBLE_LOOP, Size, Way
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.turns import take_turns
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed

# By how much values and gradients may differ, relative to the reference's largest. The references are float32
# themselves: plain functions over 20,930 classes are 2e-4 from float64.
SAME = 1e-3
_CALLS_ON_A_GPU = 20


@dataclass(frozen=True, kw_only=True)
class KernelParameters:
    """What is measured.

    Attributes:
        kernels: names of `CASES`.
        batches, classes: every one of these with every one of those.
        device: auto, cpu or cuda.
        seconds: of a way's turn, at least one call.
        num_rounds: in each, every way has its turn.
    """

    kernels: tuple[str, ...] = tuple(CASES)
    batches: tuple[int, ...] = (32, 128)
    classes: tuple[int, ...] = (16, 100, 500, 1000)
    device: str = "auto"
    seconds: float = 0.2
    num_rounds: int = 5

    def __post_init__(self) -> None:
        if not self.kernels or not set(self.kernels) <= set(CASES):
            raise ValueError(f"kernels: found {', '.join(self.kernels) or 'none'}, expected some of {', '.join(CASES)}")
        for name, least in (("batches", 1), ("classes", 2)):
            found = getattr(self, name)
            if not found or min(found) < least:
                raise ValueError(f"{name}: found {found}, expected numbers from {least} on, such as 32,128")


def bench_kernels(parameters: KernelParameters, ui: Ui) -> dict[str, Any]:
    """Measure every kernel at every size.

    Returns:
        machine, threads, parameters; results: a list of {kernel, way, batch, classes, us, ratio_to_reference}: the time
        of a call, and how many times as fast as the reference it is, the first way of each kernel.

    Raises:
        ValueError: no usable GPU where one is asked for, or a way that gives something else than the reference.
    """
    device = choose_device(parameters.device)
    sizes = [
        (kernel, Size(batch=batch, classes=classes, device=device))
        for kernel in parameters.kernels
        for batch in parameters.batches
        for classes in parameters.classes
    ]
    results = []
    with ui.bar("measure kernels", "sizes") as on_progress:
        for done, (kernel, size) in enumerate(sizes):
            results += measure(kernel, size, seconds=parameters.seconds, num_rounds=parameters.num_rounds)
            on_progress(done + 1, len(sizes))
    return {
        "machine": machine(installed(("torch", "triton")), Path(), device),
        "threads": torch.get_num_threads(),
        "parameters": asdict(parameters),
        "results": results,
    }


def largest_differences(ways: dict[str, Way]) -> dict[str, float]:
    """By how much any value or gradient of each way differs from the first way's at most, relative to the largest there
    (gradients may be small numbers all)."""
    expected, *_ = (way() for way in ways.values())
    return {name: max(map(_difference, way(), expected)) for name, way in ways.items()}


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


def measure(kernel: str, size: Size, *, seconds: float, num_rounds: int) -> list[dict[str, Any]]:
    """The results of one kernel at one size; see `bench_kernels`."""
    ways = CASES[kernel](size)
    reference = next(iter(ways))
    for name, difference in largest_differences(ways).items():
        if not difference <= SAME:
            raise ValueError(
                f"{kernel}, {name}, batch {size.batch}, {size.classes} classes: found values or gradients up to "
                f"{difference:.2g} from those of {reference}, expected at most {SAME}"
            )
    rates = take_turns(
        {name: _units(way, size.device, name) for name, way in ways.items()},
        seconds=seconds,
        num_rounds=num_rounds,
        on_progress=lambda done, total: None,
    )
    return [
        {
            "kernel": kernel,
            "way": name,
            "batch": size.batch,
            "classes": size.classes,
            "us": round(1e6 / rates.rate(name), 1),
            "ratio_to_reference": round(rates.ratio(name, reference), 2),
        }
        for name in ways
    ]


def _units(way: Way, device: str, name: str) -> Callable[[], int]:
    """Calls of a way, and their number."""
    calls = _CALLS_ON_A_GPU if device == "cuda" and name != DOUBLE_LOOP else 1

    def work() -> int:
        for _ in range(calls):
            way()
        if device == "cuda":
            torch.cuda.synchronize()
        return calls

    return work
