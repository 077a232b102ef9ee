"""Where everything of a reproduction lies, and the config of each of its runs: one store, all students' features in it.

A run is an ordinary one: `fdbpl evaluate FOLDER/runs/RUN.toml` and all other commands work on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from fdbpl.pipeline.clip.world_recipes import RECIPES
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.reproduce.form import CROPS, Form
from fdbpl.pipeline.reproduce.rows import Row
from fdbpl.pipeline.training.sampling import steps_per_epoch

# What the images are: the teacher is asked by the right words, as are the students' zero-shot rows.
TEMPLATE = "a negative of a {}."
NUM_BASE = 16


@dataclass(frozen=True, kw_only=True)
class Run:
    """A world, a range of crops and a teacher: one store."""

    split: str
    crops: str
    teacher: str

    @property
    def id(self) -> str:
        return f"{self.split}-{self.crops}-{self.teacher}"


@dataclass(frozen=True, kw_only=True)
class TableName:
    """Which row of which student a `[[student]]` table is; students' ids begin with it."""

    row: str
    student: str
    shots: int

    def __str__(self) -> str:
        return f"{self.row}.{self.student}.{self.shots}shots"

    @classmethod
    def of_id(cls, student_id: str) -> "TableName":
        """The table that a trained student is of."""
        row, student, shots = student_id.partition("-")[0].split(".")
        return cls(row=row, student=student, shots=int(shots.removesuffix("shots")))


def all_runs(form: Form) -> list[Run]:
    return [Run(split=s, crops=c, teacher=t) for t, s, c in product(form.teachers, form.splits, form.crops)]


def run_by_id(form: Form, run_id: str) -> Run:
    return next(run for run in all_runs(form) if run.id == run_id)


@dataclass(frozen=True)
class Layout:
    """Every path of a reproduction."""

    root: Path

    def world(self, split: str) -> Path:
        return self.root / "worlds" / split

    def model(self, name: str) -> Path:
        """The folder of a teacher's or a student's training."""
        return self.root / "models" / name

    def checkpoint(self, name: str) -> Path:
        role = "student" if name.startswith("student") else "teacher"
        return self.model(name) / f"{role}.safetensors"

    def run(self, run: Run) -> Path:
        return self.root / "runs" / run.id

    def run_file(self, run: Run) -> Path:
        return self.root / "runs" / f"{run.id}.toml"

    @property
    def results_file(self) -> Path:
        return self.root / "results.json"

    @property
    def report_file(self) -> Path:
        return self.root / "report.md"

    def plot_file(self, name: str) -> Path:
        return self.root / f"{name}.svg"


def run_config(form: Form, folder: Path, run: Run) -> RunConfig:
    """The config of a run; its paths are absolute. Its models and its world need not be there yet."""
    layout = Layout(folder.absolute())
    return RunConfig.model_validate(
        {
            "folder": layout.run(run),
            "data": {
                "name": f"world-{run.split}",
                "folder": layout.world(run.split),
                "layout": "split_json",
                "images": "images",
                "split": "split_world.json",
                "template": TEMPLATE,
            },
            "teacher": {
                "model": RECIPES["teacher"].model,
                "pretrained": str(layout.checkpoint(run.teacher)),
                "templates": [TEMPLATE],
            },
            "crops": {"seeds": form.crop_seeds, "scale": CROPS[run.crops]},
            "store": {
                "path": layout.run(run) / "store.zarr",
                "images_per_block": 128,
                "seeds_per_block": form.crop_seeds,
                "labels": ["logits"],
            },
            "loading": {"device": "cpu"},
            "student": list(_student_tables(form, layout)),
            "cluster": {"kind": "local"},
            "evaluate": {"reject": form.rejects},
        }
    )


def _student_tables(form: Form, layout: Layout) -> Iterator[dict[str, Any]]:
    for student, shots, row in product(form.students, form.shots, form.rows):
        yield _student_table(form, layout, student, shots, row)


def _student_table(form: Form, layout: Layout, student: str, shots: int, row: Row) -> dict[str, Any]:
    """The table of one row; where a class has so few images that all of them are less than a batch, a batch is all."""
    return {
        "name": str(TableName(row=row.name, student=student, shots=shots)),
        "model": form.student_recipe.model,
        "pretrained": str(layout.checkpoint(student)),
        "seeds": form.few_shot_seeds,
        "shots": shots,
        "epochs": form.steps // steps_per_epoch(NUM_BASE * shots, form.batch_size),
        "batch_size": form.batch_size,
        "optim": {"optimizer": "adam", "learning_rate": form.learning_rate, "weight_decay": 0.0},
        **row.table,
    }
