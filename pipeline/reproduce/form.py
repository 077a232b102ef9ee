"""The forms of the reproduction: which worlds, models and students are compared.

Settings were fixed before any result was seen; none is chosen on the images that are reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fdbpl.pipeline.clip.world_recipes import RECIPES, ClipRecipe
from fdbpl.pipeline.datasets.world import WorldSpec
from fdbpl.pipeline.reproduce.rows import ABLATION, COMPARISON, COUPLED, PASSED, VIEWS, WEIGHTS, Row

# Shares of the image's area that the crops of training have. Of small ones many show nothing of the main object.
CROPS: Mapping[str, tuple[float, float]] = {"ordinary": (0.08, 1.0), "small": (0.06, 0.3)}
# The one that ships with the package, and one that is stopped early; None ships.
TEACHERS: Mapping[str, ClipRecipe | None] = {"strong": None, "middling": replace(RECIPES["teacher"], steps=1500)}
TEACHER_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Form:
    """One size of the reproduction.

    Attributes:
        name, about: for people.
        splits, crops, teachers: a run for each combination; names in `SPLITS`, `CROPS` and `TEACHERS`.
        first_student, num_students: freshly pretrained students, with the pretraining seeds from the first on.
        student_recipe: of their pretraining.
        rows, shots, few_shot_seeds: a training for each combination, of each student in each run.
        steps, batch_size, learning_rate: of a training; Adam, with a cosine.
        crop_seeds: stored crops of an image.
        train_per_class, test_per_class: images of the worlds.
        world_seed: another than the demo's, whose images were looked at while the models were made.
        rejects: whether it is measured too how images of no listed class, and crops without the object, are rejected.
    """

    name: str
    about: str
    splits: tuple[str, ...] = ("latin", "grid")
    crops: tuple[str, ...] = ("ordinary", "small")
    teachers: tuple[str, ...] = ("strong",)
    first_student: int = 1
    num_students: int = 5
    student_recipe: ClipRecipe = RECIPES["student"]
    rows: tuple[Row, ...] = field(default=COMPARISON)
    shots: tuple[int, ...] = (4,)
    few_shot_seeds: tuple[int, ...] = (1, 2, 3)
    steps: int = 400
    batch_size: int = 32
    learning_rate: float = 0.005
    crop_seeds: int = 31
    train_per_class: int = 12
    test_per_class: int = 100
    world_seed: int = 7
    rejects: bool = False

    @property
    def students(self) -> tuple[str, ...]:
        return tuple(f"student{self.first_student + number}" for number in range(self.num_students))

    def world(self, split: str) -> WorldSpec:
        """The data set of a split, of negatives: what the words 'a photo of a' mislead about."""
        return WorldSpec(
            split=split,
            train_per_class=self.train_per_class,
            val_per_class=0,
            test_per_class=self.test_per_class,
        )

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return {
            **{name: getattr(self, name) for name in ("name", "steps", "batch_size", "learning_rate", "crop_seeds")},
            **{name: list(getattr(self, name)) for name in ("splits", "teachers", "students", "shots")},
            "few_shot_seeds": list(self.few_shot_seeds),
            "crops": {name: list(CROPS[name]) for name in self.crops},
            "student_recipe": self.student_recipe.to_json(),
            "rows": [{"name": row.name, "label": row.label, **row.table} for row in self.rows],
            "world": {"seed": self.world_seed, "train_per_class": self.train_per_class}
            | {"test_per_class": self.test_per_class, "style": "negative"},
        }


_SIZES = (
    Form(name="quick", about="20 minutes on two cores"),
    Form(
        name="full",
        about="hours: a second teacher, 1, 4 and 16 shots, five few-shot seeds",
        teachers=("strong", "middling"),
        num_students=8,
        shots=(1, 4, 16),
        few_shot_seeds=(1, 2, 3, 4, 5),
        train_per_class=24,
    ),
    Form(
        name="tiny",
        about="a minute: tries the machinery, its numbers mean nothing",
        num_students=2,
        student_recipe=replace(RECIPES["student"], num_images=256, steps=12, batch_size=32, warmup_steps=4),
        few_shot_seeds=(1, 2),
        steps=4,
        crop_seeds=2,
        train_per_class=4,
        test_per_class=2,
    ),
)

# What is compared: rows, and students and worlds of their own where the question is a new one.
STUDIES: Mapping[str, Mapping[str, Any]] = {
    "comparison": {},
    "ablation": {"rows": ABLATION},
    "views": {"rows": VIEWS},
    # Students that know more: 10 % wrong words in place of 30, twice the steps.
    "weights": {
        "rows": WEIGHTS,
        "first_student": 401,
        "world_seed": 10,
        "student_recipe": replace(RECIPES["student"], steps=1200, wrong_word_fraction=0.1),
    },
    "coupled": {"rows": COUPLED, "first_student": 201, "world_seed": 8, "rejects": True},
    "coupled-again": {"rows": PASSED, "first_student": 301, "world_seed": 9, "rejects": True},
}


def _name(size: str, study: str) -> str:
    return size if study == "comparison" else f"{size}-{study}"


def _sized(size: Form, study: str) -> Form:
    """A study in that size; the tiny form keeps its own short pretraining."""
    kept = {"student_recipe": size.student_recipe} if size.name == "tiny" else {}
    return replace(size, **{**STUDIES[study], **kept, "name": _name(size.name, study)})


FORMS = {form.name: form for form in (_sized(size, study) for size in _SIZES for study in STUDIES)}


def form_by(size: str, study: str) -> Form:
    """The form of that size for a study.

    Raises:
        ValueError: another study.
    """
    if study not in STUDIES:
        raise ValueError(f"found the study {study}, expected one of {', '.join(STUDIES)}")
    return FORMS[_name(size, study)]
