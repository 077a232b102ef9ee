"""A run's store as its students need it: sealed, made as the config says, and holding all that each reads."""

from collections.abc import Sequence

import numpy as np

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import check_excluded
from fdbpl.pipeline.data.load import TrainingSet, training_set
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.labels.class_lists import asked_names
from fdbpl.pipeline.labels.features import check_stored_features
from fdbpl.pipeline.labels.manifest import CAMPAIGN as TEACHER
from fdbpl.pipeline.labels.manifest import expected_fields
from fdbpl.pipeline.labels.stored import stored_labels
from fdbpl.pipeline.students.plan import StudentPlan


def open_store_for(config: RunConfig, plans: Sequence[StudentPlan], data: DataSet) -> Reader:
    """The store as these students need it: sealed, made as the config says, with all of their images and seeds, and
    features where they want them. Errors as of `open_run_store` and `check_serves`."""
    reader = open_run_store(config)
    for plan in plans:
        check_serves(reader, config, plan, data)
    return reader


def open_run_store(config: RunConfig) -> Reader:
    """The run's store, with the teacher's labels sealed and made as the config says. Raises CacheError."""
    return open_reader(config.store.path, expect=expected_fields(config), campaigns=(TEACHER,))


def check_serves(reader: Reader, config: RunConfig, plan: StudentPlan, data: DataSet) -> None:
    """Refuse a store without a student's images, seeds, labels or stored features, or that excludes images of a run
    which does not allow that. Raises ValueError, CacheError."""
    check_excluded(reader, config, data)
    training = training_set(data, plan)
    numbers_M = store_numbers(reader, data, training)
    if plan.supervision == "cached" or plan.weighs_views:
        asked = asked_names(config, plan.config, training.class_names)
        stored_labels(reader, asked.class_names, asked.templates)
    if config.crops.seeds > reader.num_seeds:
        raise ValueError(
            f"crops.seeds: found {config.crops.seeds}, expected at most {reader.num_seeds}, the seeds that the "
            f"store at {config.store.path} holds: lower it, or add seeds by `fdbpl teach CONFIG --grow`"
        )
    if plan.stores_features:
        check_stored_features(reader, plan.config, int(numbers_M.max()) + 1, config.crops.seeds)


def store_numbers(reader: Reader, data: DataSet, training: TrainingSet) -> np.ndarray:
    """The store's numbers of a student's training images, found by their paths: int64 [M].

    Raises:
        ValueError: images that the store does not have.
    """
    paths = [data.train.paths[image] for image in training.image_ids_M]
    numbers_M = reader.images.numbers_of(paths)
    missing = [paths[position] for position in np.flatnonzero(numbers_M < 0)]
    if missing:
        raise ValueError(
            f"found {len(missing)} of {len(paths)} training images that the store at {reader.path} does not hold "
            f"({', '.join(missing[:3])}), expected all: add them by `fdbpl teach CONFIG --grow`"
        )
    return numbers_M
