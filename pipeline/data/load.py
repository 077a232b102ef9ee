"""From a config's data section to the images and classes that a teacher or a student works on."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.pipeline.config import DataConfig
from fdbpl.pipeline.data.defaults import not_known, with_defaults
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.few_shot import base_and_new, few_shot
from fdbpl.pipeline.datasets.layouts import reader_of
from fdbpl.pipeline.datasets.subset_file import given_subset
from fdbpl.pipeline.students.plan import StudentPlan


def load_data(config: DataConfig) -> DataSet:
    """The data set of a config. Raises ValueError where folder, split file or lists are not as expected."""
    config = with_defaults(config)
    try:
        data = reader_of(config.layout).read(config.name, config.folder, config.images, config.split)
    except ValueError as error:
        hint = not_known(config.name) if config.layout == "class_folders" else ""
        raise ValueError(f"{error}{hint}") from error
    return replace(data, subsets=str(config.folder / config.few_shot)) if config.few_shot else data


class DataSets:
    """Data sets of configs, each read once, however many ask for it."""

    def __init__(self) -> None:
        self._read = lru_cache(maxsize=None)(load_data)

    def of(self, config: DataConfig) -> DataSet:
        """Raises ValueError as `load_data`."""
        return self._read(config)


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
        ValueError: no training image, a class with too few, or left without one because those that it had are excluded;
            a given subset that does not fit.
    """
    _check_left(data)
    labels_N = np.asarray(data.train.labels, dtype=np.int64)
    ids_M = subset_ids(data, plan.shots, plan.seed) if plan.shots else np.arange(len(labels_N))
    names = data.class_names
    if plan.config.classes == "base":
        base, _ = base_and_new(len(names))
        ids_M = ids_M[labels_N[ids_M] < len(base)]
        names = names[: len(base)]
    return TrainingSet(class_names=tuple(names), image_ids_M=ids_M, labels_M=labels_N[ids_M])


def subset_ids(data: DataSet, shots: int, seed: int) -> np.ndarray:
    """Positions in the train list of a few-shot subset of all classes, int64: the given one, else the drawn one.

    Raises:
        ValueError: as of `given_subset`, or a class with too few images.
    """
    if data.subsets:
        return given_subset(data, shots, seed)
    try:
        return few_shot(data.train.labels, shots, seed)
    except ValueError as error:
        raise ValueError(f"{error}{_about_excluded(data)}") from error


def subset_digest(data: DataSet, shots: int, seed: int) -> str:
    """Which images a given subset has; "" where it is drawn, for then it follows from the train list."""
    if not data.subsets or not shots:
        return ""
    chosen = [data.train.paths[position] for position in given_subset(data, shots, seed).tolist()]
    return digest_of(canonical_json(chosen).encode())


def check_trainable(data: DataSet) -> None:
    """Refuse a test set as what a teacher labels or a student learns from. Raises ValueError."""
    if not len(data.train) and not len(data.excluded):
        raise ValueError(
            f"{data.name}: found no training image, expected some: it has {len(data.test)} test images only, so it "
            "serves to measure what has learned from another data set"
        )


def _check_left(data: DataSet) -> None:
    check_trainable(data)
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
