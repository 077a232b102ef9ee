"""All that one student's training is made of, and the views that it takes. Letters: V views."""

from dataclasses import dataclass

import numpy as np

from fdbpl.pipeline.data.load import TrainingSet
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.objectives.base import Objective
from fdbpl.pipeline.training.sampling import Sampler
from fdbpl.pipeline.training.supervision import Supervision
from fdbpl.pipeline.training.views import ViewSource
from fdbpl.pipeline.values import Views


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """All that a training loop is made of. Students that train together share `supervision` and `source`."""

    learner: Learner
    objective: Objective
    supervision: Supervision
    source: ViewSource
    training: TrainingSet
    sampler: Sampler

    def views(self, images_V: np.ndarray, seeds_V: np.ndarray, labels_V: np.ndarray) -> Views:
        """Views with all that the learner and the supervision take: image numbers, crop seeds and labels int64."""
        return self.source.complete(brought(self, images_V, seeds_V, labels_V))


def brought(student: Ingredients, images_V: np.ndarray, seeds_V: np.ndarray, labels_V: np.ndarray) -> Views:
    """Views as far as no model is needed: what may be done ahead, in another thread."""
    label_rows = student.supervision.rows(images_V, seeds_V)
    return student.source.bring(images_V, seeds_V, labels_V, label_rows)
