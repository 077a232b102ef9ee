"""The ways that `fdbpl bench train` measures: one run on test images, with one table of students for each way."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.bench.small_run import SmallRun
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.gather import gather_all
from fdbpl.pipeline.training.train import Training
from fdbpl.pipeline.training.trainee import Trainee

ONLINE, LABELS, FEATURES, TEXTS = "online", "cached labels", "cached features", "packed text tower"
COMPILED, TOGETHER = "compiled text tower", "students together"
# Each way has what the one before it has, and one thing more.
WAYS: dict[str, dict[str, Any]] = {
    ONLINE: {"supervision": "online", "features": "live", "text_tower": "plain"},
    LABELS: {"supervision": "cached", "features": "live", "text_tower": "plain"},
    FEATURES: {"supervision": "cached", "features": "stored", "text_tower": "plain"},
    TEXTS: {"supervision": "cached", "features": "stored", "text_tower": "packed"},
    COMPILED: {"supervision": "cached", "features": "stored", "text_tower": "compiled"},
    TOGETHER: {"supervision": "cached", "features": "stored", "text_tower": "packed"},
}


@dataclass(frozen=True, kw_only=True)
class TrainParameters:
    """What is measured.

    Attributes:
        student, teacher: open_clip models.
        learner, objectives: what is learned, and by which losses.
        num_classes, batch_size: of a step.
        num_steps: of an epoch.
        num_seeds: crops of each image.
        num_students: that train together in the last way; 1 leaves it out.
        compile: whether a way with the text tower by torch.compile is measured, which takes a minute before.
        size: (width, height) of the images.
        device: auto, cpu or cuda.
        precision: arithmetic of both models.
        seconds: of a way in a round, at least one epoch.
        num_rounds: in each, every way has its turn.
    """

    student: str = "ViT-B-32"
    teacher: str = "ViT-L-14"
    learner: str = "coop"
    objectives: tuple[str, ...] = ("kdpl", "fdbpl")
    num_classes: int = 100
    batch_size: int = 32
    num_steps: int = 1
    num_seeds: int = 2
    num_students: int = 16
    compile: bool = False
    size: tuple[int, int] = (500, 375)
    device: str = "auto"
    precision: str = "fp32"
    seconds: float = 5.0
    num_rounds: int = 2


class Way:
    """Students that train on and on in one of the ways; mostly one."""

    def __init__(self, config: RunConfig, plans: Sequence[StudentPlan], reader: Reader) -> None:
        gathered = gather_all(config, plans, load_data(config.data), reader)
        self._trainees = [
            Trainee(ingredients=ingredients, config=plan.config)
            for ingredients, plan in zip(gathered, plans, strict=True)
        ]
        self._training = Training(self._trainees)

    def epoch(self) -> int:
        """One epoch; its steps, of all students."""
        self._training.epoch()
        return self.steps_per_epoch

    @property
    def steps_per_epoch(self) -> int:
        return len(self._trainees) * self._training.steps_per_epoch

    @property
    def first_loss(self) -> float:
        """Of the first student."""
        return self._trainees[0].log.epochs[0]["loss"]

    def close(self) -> None:
        self._training.close()


def make_ways(config: RunConfig, objective: str, reader: Reader) -> dict[str, Way]:
    """Students of this loss in every way, by its name."""
    plans: dict[str, list[StudentPlan]] = {}
    for plan in student_plans(config):
        if plan.objective == objective:
            plans.setdefault(plan.config.name.replace("_", " "), []).append(plan)
    return {name: Way(config, own, reader) for name, own in plans.items()}


def ways_config(parameters: TrainParameters, folder: Path, *, only: str = "") -> RunConfig:
    """A run with one table of students for each way, or for that way only, that train on and on."""
    entry = learner_entry(parameters.learner)
    has = {
        FEATURES: "features" in entry.needs,
        COMPILED: parameters.compile,
        TOGETHER: entry.in_packs and parameters.num_students > 1,
    }
    together = {"seeds": list(range(1, 1 + parameters.num_students))}
    run = SmallRun(
        student=parameters.student,
        teacher=parameters.teacher,
        num_classes=parameters.num_classes,
        num_images=parameters.batch_size * parameters.num_steps,
        batch_size=parameters.batch_size,
        size=parameters.size,
        device=parameters.device,
        num_seeds=parameters.num_seeds,
        precision=parameters.precision,
        tables=[
            {
                "name": name.replace(" ", "_"),
                "learner": parameters.learner,
                "objective": list(parameters.objectives),
                "epochs": 1_000_000,
                **way,
                **(together if name == TOGETHER else {}),
            }
            for name, way in WAYS.items()
            if (name == only if only else has.get(name, True))
        ],
    )
    return run.config(folder)
