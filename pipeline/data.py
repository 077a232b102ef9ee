"""From a config's data section to the images and classes that a teacher or a student works on."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from fdbpl.pipeline.config import DataConfig
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.few_shot import base_and_new, few_shot
from fdbpl.pipeline.datasets.split_json import read_split_json
from fdbpl.pipeline.student_plan import StudentPlan


def load_data(config: DataConfig) -> DataSet:
    """The data set of a config. Raises ValueError where folder, split file or lists are not as expected."""
    return read_split_json(config.name, config.folder, config.images, config.split)


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """The training images of one student: ids are positions in the train split, or in a store once found there."""

    class_names: tuple[str, ...]
    image_ids_M: np.ndarray
    labels_M: np.ndarray

    def __len__(self) -> int:
        return len(self.image_ids_M)


def training_set(data: DataSet, plan: StudentPlan) -> TrainingSet:
    """Few-shot images of all classes are drawn first, then the base half is kept: the field's order. Nothing is drawn
    from excluded images.

    Raises:
        ValueError: a class with too few images, or left without one because those that it had are excluded.
    """
    _check_left(data)
    labels_N = np.asarray(data.train.labels, dtype=np.int64)
    ids_M = np.arange(len(labels_N))
    if plan.shots:
        try:
            ids_M = np.asarray(few_shot(data.train.labels, plan.shots, plan.seed), dtype=np.int64)
        except ValueError as error:
            raise ValueError(f"{error}{_about_excluded(data)}") from error
    names = data.class_names
    if plan.config.classes == "base":
        base, _ = base_and_new(len(names))
        ids_M = ids_M[labels_N[ids_M] < len(base)]
        names = names[: len(base)]
    return TrainingSet(class_names=tuple(names), image_ids_M=ids_M, labels_M=labels_N[ids_M])


def _check_left(data: DataSet) -> None:
    gone = sorted(set(data.excluded.labels) - set(data.train.labels))
    if gone:
        listed = ", ".join(f"class {label} has 0" for label in gone[:10])
        raise ValueError(
            f"{data.name}: found {len(gone)} classes without a training image: {listed}{_about_excluded(data)}"
        )


def _about_excluded(data: DataSet) -> str:
    if not data.excluded.paths:
        return ""
    whose = Counter(data.excluded.labels)
    listed = ", ".join(f"{count} of class {label}" for label, count in sorted(whose.items())[:10])
    return f" ({len(data.excluded)} images that cannot be read are excluded, {listed}: mend some, or lower the shots)"
