"""Which training images the teacher labels: all, or those alone that the run's students learn from.

A store of few-shot subsets holds a part of the data set, at that part of its cost. Other subsets are added later
(`fdbpl teach --grow`), and nothing that is there is computed again.
"""

import numpy as np

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import training_set
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.students.plan import list_plans


def labelled(config: RunConfig, data: DataSet) -> Split:
    """The training images that the run's store shall hold, in the order of the data set's list.

    Raises:
        ValueError: a student with too few images, or a given subset that does not fit.
    """
    if config.store.images == "all":
        return data.train
    drawn = [training_set(data, plan).image_ids_M for plan in list_plans(config)]
    chosen = np.unique(np.concatenate(drawn)).tolist()
    return Split(
        paths=tuple(data.train.paths[image] for image in chosen),
        labels=tuple(data.train.labels[image] for image in chosen),
    )
