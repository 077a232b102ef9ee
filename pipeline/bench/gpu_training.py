"""How fast students learn on a GPU in each way of `fdbpl bench train`: told, but for what students together gain."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdbpl.pipeline.bench.train import bench_train
from fdbpl.pipeline.bench.train_ways import TEXTS, TOGETHER, TrainParameters
from fdbpl.pipeline.progress import Ui

# Students together against one after another, where a step is many small kernels.
LEAST_GAIN, FEW_CLASSES = 4.0, 50


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was found, and whether it is as large as it must be; `least` is None where it is only told."""

    name: str
    found: float
    least: float | None = None

    @property
    def passed(self) -> bool:
        return self.least is None or self.found >= self.least


def training_figures(parameters: TrainParameters, folder: Path, ui: Ui) -> Iterator[Figure]:
    """Steps a second, memory and ratios of every way and loss; raises ValueError where ways do not learn the same."""
    found = bench_train(parameters, folder, ui)
    rates: dict[tuple[str, str], float] = {}
    for row in found["results"]:
        title = f"{row['objective']}, {parameters.num_classes} classes, {parameters.precision}, {row['name']}"
        rates[row["objective"], row["name"]] = row["steps_per_s"]
        yield Figure(name=f"{title}: steps/s", found=row["steps_per_s"])
        yield Figure(name=f"{title}: times as fast as online", found=row["ratio_to_online"])
        yield Figure(name=f"{title}: peak memory, GiB", found=round(row["peak_memory_bytes"] / 2**30, 2))
        yield Figure(name=f"{title}: share of the bound", found=row["share_of_bound"])
    for objective in parameters.objectives:
        if (objective, TOGETHER) in rates:
            yield Figure(
                name=f"{objective}, {parameters.num_classes} classes: students together against one by one",
                found=round(rates[objective, TOGETHER] / rates[objective, TEXTS], 2),
                least=LEAST_GAIN if parameters.num_classes <= FEW_CLASSES else 1.0,
            )
