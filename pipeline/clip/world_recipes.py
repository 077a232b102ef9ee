"""How the tiny CLIPs are trained: two recipes, a strong teacher's and a weaker student's.

The teacher sees clean captions and small crops, and so learns what a piece of an object tells; the student sees
fewer images, large crops and captions in which three words in ten are wrong, and is stopped early: it is to be
clearly weaker than its teacher, so that there is something to distil.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from fdbpl.pipeline.datasets.synthetic import SceneSpec


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """One training: sizes are counts, fractions are probabilities of an image, a batch or a word."""

    model: str
    num_images: int
    steps: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    crop_scale: tuple[float, float] = (0.08, 1.0)
    whole_fraction: float = 0.3
    generic_fraction: float = 0.5
    wrong_word_fraction: float = 0.0
    scenes: SceneSpec = field(default_factory=SceneSpec)

    def __post_init__(self) -> None:
        for name in ("num_images", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, found {getattr(self, name)}")
        for name in ("whole_fraction", "generic_fraction", "wrong_word_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0..1, found {getattr(self, name)}")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale: expected 0 < low <= high <= 1, found ({low}, {high})")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = asdict(self) | {"scenes": self.scenes.to_json(), "crop_scale": list(self.crop_scale)}
        return fields


RECIPES = {
    "teacher": ClipRecipe(model="fdbpl-tiny-teacher", num_images=60_000, steps=5000),
    "student": ClipRecipe(
        model="fdbpl-tiny-student",
        num_images=20_000,
        steps=600,
        crop_scale=(0.5, 1.0),
        wrong_word_fraction=0.3,
    ),
}


def learning_rate(recipe: ClipRecipe, step: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine to zero."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
