"""`fdbpl bench train`: students' steps as the field publishes them, beside ours, each saving by itself.

Every way is the real loop on the same views: online asks teacher and image encoder in every step and runs the text
tower over all positions; then labels come from the store, then features, then text prompts are packed, then many
students train together. That all learn the same is checked by their first epoch's loss before anything is timed.
Weights are random: speed does not depend on them.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.operations import DTYPES, matrix_rate, operations
from fdbpl.pipeline.bench.peak_memory import peak_bytes
from fdbpl.pipeline.bench.small_run import feature_pass, teacher_pass
from fdbpl.pipeline.bench.train_ways import ONLINE, TEXTS, TOGETHER, TrainParameters, Way, make_ways, ways_config
from fdbpl.pipeline.bench.turns import Rates, take_turns
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed

# Stored labels are of float16; the part by which a loss may differ for that, and for the arithmetic's rounding.
_SAME = {"fp32": 2e-3, "fp16": 1e-2, "bf16": 5e-2}
# For how many students the whole is told, teacher and feature passes included.
_STUDENTS = (1, 10, 100)


def bench_train(parameters: TrainParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure every way in turns; everything is put into `folder`.

    Returns:
        machine, parameters, passes (seconds of the teacher and the feature pass over all views), matrix_rate
        (operations a second of this machine's matrix products); results: a list of {name, objective, steps_per_s,
        views_per_s, ratio_to_online, peak_memory_bytes, operations_per_step, share_of_bound}, where the bound is the
        time of its operations at that rate; whole: of {objective, students, ratio_to_online}, where every student takes
        each stored view once, and the passes are paid for.

    Raises:
        ValueError: an unknown model or learner, or ways that do not learn the same.
    """
    config = ways_config(parameters, folder)
    device = choose_device(parameters.device)
    with ui.bar("teacher and feature pass", "passes") as on_progress:
        passes = {"teacher": _seconds(lambda: teacher_pass(config))}
        on_progress(1, 2)
        passes["features"] = _seconds(lambda: feature_pass(config))
        on_progress(2, 2)
    rate = matrix_rate(device, DTYPES[parameters.precision])
    results, whole = [], []
    for objective in parameters.objectives:
        with ExitStack() as stack:
            reader = stack.enter_context(open_reader(config.store.path))
            ways = make_ways(config, objective, reader)
            for way in ways.values():
                stack.callback(way.close)
            memory = _check_and_warm_up(ways, device, _SAME[parameters.precision])
            counted = {name: operations(way.epoch) / way.steps_per_epoch for name, way in ways.items()}
            with ui.bar(f"measure {objective}", "turns") as on_progress:
                rates = take_turns(
                    {name: way.epoch for name, way in ways.items()},
                    seconds=parameters.seconds,
                    num_rounds=parameters.num_rounds,
                    on_progress=on_progress,
                    is_warm=True,
                )
        for name in ways:
            steps_per_s = rates.rate(name)
            results.append(
                {
                    "name": name,
                    "objective": objective,
                    "steps_per_s": round(steps_per_s, 4),
                    "views_per_s": round(steps_per_s * parameters.batch_size, 2),
                    "ratio_to_online": round(rates.ratio(name, ONLINE), 2),
                    "peak_memory_bytes": memory[name],
                    "operations_per_step": round(counted[name]),
                    "share_of_bound": round(steps_per_s * counted[name] / rate, 3),
                }
            )
        whole += _whole(rates, objective, parameters, sum(passes.values()))
    return {
        "machine": machine(installed(("torch", "open_clip_torch")), folder, device),
        "threads": torch.get_num_threads(),
        "parameters": asdict(parameters),
        "passes": {name: round(seconds, 3) for name, seconds in passes.items()},
        "matrix_rate": round(rate),
        "results": results,
        "whole": whole,
    }


def _check_and_warm_up(ways: dict[str, Way], device: str, same: float) -> dict[str, int]:
    """Each way's first epoch: the memory that it took at most, in bytes. Raises ValueError where losses differ."""
    memory = {}
    for name, way in ways.items():
        memory[name] = peak_bytes(way.epoch, device)
    expected = ways[ONLINE].first_loss
    for name, way in ways.items():
        if abs(way.first_loss - expected) > same * max(1.0, abs(expected)):
            raise ValueError(
                f"{name}: found a loss of {way.first_loss} in the first epoch, expected {expected} (online)"
            )
    return memory


def _whole(rates: Rates, objective: str, parameters: TrainParameters, passes: float) -> list[dict[str, Any]]:
    steps = parameters.num_steps * parameters.num_seeds
    best = TOGETHER if TOGETHER in rates.rounds else TEXTS
    alone, together, online = (steps / rates.rate(name) for name in (TEXTS, best, ONLINE))
    return [
        {
            "objective": objective,
            "students": students,
            "ratio_to_online": round(students * online / (passes + students * ours), 2),
        }
        for students in _STUDENTS
        for ours in (together if students >= parameters.num_students else alone,)
    ]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
