"""The positive against the negative prompt of one class, over the crops of that class's images.

Both are cosines of a crop's feature with a prompt's. Their difference is what tells a crop that shows the class from
one that does not, where the negative prompt has learned that. Letters: V crops, B views.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fdbpl.pipeline.inspection.crops import Crop, read_crops
from fdbpl.pipeline.inspection.names import find_class
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.stream import Leading, batches
from fdbpl.pipeline.inspection.students import Student
from fdbpl.pipeline.labels.passes import OnProgress
from fdbpl.pipeline.students.plan import StudentPlan


@dataclass(frozen=True, kw_only=True)
class Held:
    """A crop with its similarity to both prompts of the class."""

    crop: Crop
    positive: float
    negative: float

    def to_json(self) -> dict[str, Any]:
        return {
            **self.crop.to_json(),
            "positive": round(self.positive, 4),
            "negative": round(self.negative, 4),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity:
    """Cosines of all crops of a class, float32 [V], with the teacher's weight of each; and the crops at both ends of
    positive less negative, most extreme first."""

    student_id: str
    class_name: str
    positive_V: NDArray[np.float32]
    negative_V: NDArray[np.float32]
    weight_V: NDArray[np.float32]
    accepted: list[Held]
    rejected: list[Held]

    @property
    def correlation(self) -> float | None:
        """Of positive less negative with the teacher's weight; None where one of them is the same for all."""
        margin_V = self.positive_V - self.negative_V
        if len(margin_V) < 2 or not margin_V.std() or not self.weight_V.std():
            return None
        return float(np.corrcoef(margin_V, self.weight_V)[0, 1])

    def to_json(self) -> dict[str, Any]:
        return {
            "student": self.student_id,
            "class": self.class_name,
            "crops": len(self.positive_V),
            "positive": _spread(self.positive_V),
            "negative": _spread(self.negative_V),
            "difference": _spread(self.positive_V - self.negative_V),
            "correlation_with_weight": None if self.correlation is None else round(self.correlation, 4),
            "accepted": [one.to_json() for one in self.accepted],
            "rejected": [one.to_json() for one in self.rejected],
        }


def check_dual(plan: StudentPlan, others: list[StudentPlan]) -> None:
    """ValueError where a student has no negative prompts, with those of the run that have."""
    if plan.make_objective().dual:
        return
    having = [one.id for one in others if one.make_objective().dual]
    advice = ", ".join(having[:5]) or "the run has none; the objective fdbpl learns them"
    raise ValueError(
        f"student {plan.id}: found the objective {plan.objective}, which learns no negative prompts, expected a "
        f"student that has them: {advice}"
    )


def similarity(
    opened: Opened,
    student: Student,
    class_name: str,
    images_M: NDArray[np.int64],
    *,
    limit: int,
    top: int,
    per_image: int = 0,
    on_progress: OnProgress | None = None,
) -> Similarity:
    """Over all crops of these images, which are of that class; `limit` crops at each end, `per_image` of an image (0:
    any number).

    Raises:
        ValueError: the class is not among the names that the store was opened with.
    """
    place = find_class(opened.class_names, class_name)
    accepted, rejected = Leading(limit, per_image), Leading(limit, per_image)
    positive, negative, weight = [], [], []
    for batch in batches(opened, images_M, on_progress, size=student.batch_size, by_image=student.from_pixels):
        positive_B, negative_B = _cosines(student, place, batch.images_B, batch.seeds_B)
        accepted.add(positive_B - negative_B, batch)
        rejected.add(negative_B - positive_B, batch)
        positive.append(positive_B.numpy())
        negative.append(negative_B.numpy())
        weight.append(batch.weight_B.numpy())
    return Similarity(
        student_id=student.plan.id,
        class_name=opened.class_names[place],
        positive_V=np.concatenate(positive),
        negative_V=np.concatenate(negative),
        weight_V=np.concatenate(weight),
        accepted=_held(opened, student, place, accepted, top),
        rejected=_held(opened, student, place, rejected, top),
    )


def _cosines(
    student: Student, place: int, images_B: NDArray[np.int64], seeds_B: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Of these views with the class's positive and negative prompt, float32 [B] each."""
    prediction = student.predict(images_B, seeds_B)
    scale = prediction.logit_scale
    positive_B, negative_B = prediction.positive()[:, place], prediction.negative()[:, place]
    return (positive_B / scale).float().cpu(), (negative_B / scale).float().cpu()


def _held(opened: Opened, student: Student, place: int, leading: Leading, top: int) -> list[Held]:
    crops = read_crops(opened, leading.images_K, leading.seeds_K, top=top)
    if not crops:
        return []
    positive_K, negative_K = _cosines(student, place, leading.images_K, leading.seeds_K)
    return [
        Held(crop=crop, positive=positive, negative=negative)
        for crop, positive, negative in zip(crops, positive_K.tolist(), negative_K.tolist(), strict=True)
    ]


def _spread(values_V: NDArray[np.float32]) -> dict[str, float]:
    """Mean, standard deviation and ends of some values."""
    return {
        name: round(float(value), 4)
        for name, value in (
            ("mean", values_V.mean()),
            ("sd", values_V.std()),
            ("least", values_V.min()),
            ("most", values_V.max()),
        )
    }
