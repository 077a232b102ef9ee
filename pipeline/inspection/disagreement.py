"""Where a trained student and the teacher part: crops of which they say different things, and how often that is.

The divergence is KL(T || S), in nats, over the names that the store was opened with; a crop counts as one on which they
differ where their likeliest classes do. Letters: B views, W bins of the teacher's weight.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdbpl.kernels.distillation import kl_divergence
from fdbpl.pipeline.inspection.crops import Crop, Likeliest, classes_json, likeliest, read_crops
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.stream import Leading, batches, bins, read_batch
from fdbpl.pipeline.inspection.students import Student
from fdbpl.pipeline.labels.passes import OnProgress

NUM_WEIGHTS = 10


@dataclass(frozen=True, kw_only=True)
class Parted:
    """A crop with the student's likeliest classes and KL(T || S) in nats."""

    crop: Crop
    student: Likeliest
    divergence: float

    @property
    def differs(self) -> bool:
        """Whether the two have different likeliest classes."""
        return self.crop.teacher[0][0] != self.student[0][0]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.crop.to_json(),
            "student": classes_json(self.student),
            "kl": round(self.divergence, 4),
            "differs": self.differs,
        }


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Teacher against student over the crops of a store.

    Attributes:
        num_views, mean: crops, and their mean divergence.
        counts_W, same_W: crops, and those on which both have one likeliest class, by the teacher's weight.
        rights: of crops of which it can be told: how many, those that the teacher has right, and those of the student.
        pairs: (the teacher's class, the student's class, crops), most frequent first.
        farthest: the crops with the largest divergence.
        surest: of those on which the two differ, the ones of which the teacher can tell the most.
    """

    student_id: str
    num_views: int
    mean: float
    counts_W: list[int]
    same_W: list[int]
    rights: tuple[int, int, int]
    pairs: list[tuple[str, str, int]]
    farthest: list[Parted]
    surest: list[Parted]

    @property
    def same(self) -> float:
        """The part of the crops on which both have one likeliest class."""
        return sum(self.same_W) / self.num_views

    def to_json(self) -> dict[str, Any]:
        known, teacher, student = self.rights
        return {
            "student": self.student_id,
            "crops": self.num_views,
            "mean_kl": round(self.mean, 4),
            "same_class": round(self.same, 4),
            "right": {
                "crops": known,
                "teacher": round(teacher / known, 4) if known else None,
                "student": round(student / known, 4) if known else None,
            },
            "by_weight": [
                {
                    "weight": [bin / NUM_WEIGHTS, (bin + 1) / NUM_WEIGHTS],
                    "crops": count,
                    "same_class": round(same / count, 4) if count else None,
                }
                for bin, (count, same) in enumerate(zip(self.counts_W, self.same_W, strict=True))
            ],
            "pairs": [{"teacher": one, "student": other, "crops": count} for one, other, count in self.pairs],
            "farthest": [one.to_json() for one in self.farthest],
            "surest": [one.to_json() for one in self.surest],
        }


def disagreement(
    opened: Opened,
    student: Student,
    images_M: NDArray[np.int64],
    *,
    limit: int,
    top: int,
    per_image: int = 0,
    on_progress: OnProgress | None = None,
) -> Disagreement:
    """Over all crops of these images; lists have `limit` entries at most, `per_image` of an image (0: any number)."""
    farthest, surest = Leading(limit, per_image), Leading(limit, per_image)
    counts_W, same_W = np.zeros(NUM_WEIGHTS, np.int64), np.zeros(NUM_WEIGHTS, np.int64)
    pairs: Counter[tuple[int, int]] = Counter()
    total, known, rights = 0.0, 0, np.zeros(2, np.int64)
    for batch in batches(opened, images_M, on_progress, size=student.batch_size, by_image=student.from_pixels):
        logits_BC = student.predict(batch.images_B, batch.seeds_B).logits_BC.float().cpu()
        divergence_B = kl_divergence(logits_BC, batch.teacher_BC, direction="forward")
        teacher_B, student_B = batch.top_B(), logits_BC.argmax(dim=-1).numpy()
        same_B = teacher_B == student_B
        farthest.add(divergence_B, batch)
        surest.add(batch.weight_B, batch, ~same_B)
        bin_B = bins(batch.weight_B.numpy(), NUM_WEIGHTS)
        np.add.at(counts_W, bin_B, 1)
        np.add.at(same_W, bin_B, same_B)
        pairs.update(zip(teacher_B[~same_B].tolist(), student_B[~same_B].tolist(), strict=True))
        total += float(divergence_B.double().sum())
        own_B = opened.own_places(batch.images_B)
        known += int((own_B >= 0).sum())
        rights += [(teacher_B == own_B).sum(), (student_B == own_B).sum()]
    names = opened.class_names
    return Disagreement(
        student_id=student.plan.id,
        num_views=int(counts_W.sum()),
        mean=total / int(counts_W.sum()),
        counts_W=counts_W.tolist(),
        same_W=same_W.tolist(),
        rights=(known, int(rights[0]), int(rights[1])),
        pairs=[(names[one], names[other], count) for (one, other), count in _most_common(pairs, limit)],
        farthest=read_parted(opened, student, farthest.images_K, farthest.seeds_K, top=top),
        surest=read_parted(opened, student, surest.images_K, surest.seeds_K, top=top),
    )


def read_parted(
    opened: Opened, student: Student, images_B: NDArray[np.int64], seeds_B: NDArray[np.int64], *, top: int
) -> list[Parted]:
    """These views in the order given, as both see them."""
    if not len(images_B):
        return []
    crops = read_crops(opened, images_B, seeds_B, top=top)
    logits_BC = student.predict(images_B, seeds_B).logits_BC.float().cpu()
    teacher_BC = read_batch(opened, images_B, seeds_B).teacher_BC
    divergence_B = kl_divergence(logits_BC, teacher_BC, direction="forward").tolist()
    told_B = likeliest(logits_BC, opened.class_names, top)
    return [
        Parted(crop=crop, student=told, divergence=divergence)
        for crop, told, divergence in zip(crops, told_B, divergence_B, strict=True)
    ]


def _most_common(pairs: "Counter[tuple[int, int]]", limit: int) -> list[tuple[tuple[int, int], int]]:
    """The most frequent ones; equal ones by class number, so that the order of reading does not matter."""
    return sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:limit]
