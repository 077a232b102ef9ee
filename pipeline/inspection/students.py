"""What a trained student says of a store's crops: from its stored features where it has them, else from the images.

Letters: B views, C classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.device import device_here
from fdbpl.pipeline.evaluation.student_tests import TrainedLearners
from fdbpl.pipeline.inspection.names import unknown
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.stream import BATCH
from fdbpl.pipeline.inspection.thumbnails import store_pixels
from fdbpl.pipeline.labels.feature_names import feature_array
from fdbpl.pipeline.labels.features import check_stored_features
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.students.plan import StudentPlan, list_plans
from fdbpl.pipeline.training.student_record import is_finished
from fdbpl.pipeline.training.views import ViewSource
from fdbpl.pipeline.values import Prediction


def find_student(config: RunConfig, asked: str) -> StudentPlan:
    """The plan of a student that has learned.

    Raises:
        ValueError: the run has none of this name, with the nearest that it has; or it is not trained as the config
            says.
    """
    plans = {plan.id: plan for plan in list_plans(config)}
    if asked not in plans:
        raise unknown("student", asked, list(plans), "a student of the run")
    if not is_finished(config, plans[asked], run_data(config)):
        raise ValueError(
            f"student {asked}: found no prompts that were trained as the config says, expected a finished student: "
            "`fdbpl train CONFIG` trains it"
        )
    return plans[asked]


@dataclass(frozen=True, kw_only=True, eq=False)
class Student:
    """A trained student that is asked about stored crops, over the names that a store was opened with.

    Attributes:
        texts: what the learner made of these names.
        num_slow: views to ask about at once where each goes through an encoder.
    """

    plan: StudentPlan
    learner: Learner
    texts: Any
    source: ViewSource
    num_slow: int

    @property
    def from_pixels(self) -> bool:
        """Whether image files are read; else features are in the store."""
        return self.source.cuts_pixels

    @property
    def batch_size(self) -> int:
        """Views to ask about at once: fewer where each goes through an encoder."""
        slow = self.from_pixels or learner_entry(self.plan.learner).slow_to_evaluate
        return min(BATCH, self.num_slow) if slow else BATCH

    @torch.no_grad()
    def predict(self, images_B: NDArray[np.int64], seeds_B: NDArray[np.int64]) -> Prediction:
        """Logits of these views. Raises UnreadableImages where it reads images."""
        views = self.source.complete(self.source.bring(images_B, seeds_B, np.zeros_like(images_B)))
        return self.learner.predict(views, self.texts)


@contextmanager
def open_student(opened: Opened, plan: StudentPlan) -> Iterator[Student]:
    """A student with its prompts. Raises ValueError where its learner cannot be asked about these names."""
    config = opened.config
    device = device_here(config)
    with TrainedLearners(config, device) as learners:
        learner = learners.of(plan)
        stored = _stored(opened, plan) if "features" in learner.needs else None
        pixels = store_pixels(opened, device) if stored is None or "pixels" in learner.needs else None
        with torch.no_grad():
            texts = learner.texts(opened.class_names)
        source = ViewSource(load_backbone(plan.config, device), learner.needs, stored=stored, pixels=pixels)
        yield Student(plan=plan, learner=learner, texts=texts, source=source, num_slow=config.loading.batch_size)


def _stored(opened: Opened, plan: StudentPlan) -> tuple[Any, str] | None:
    """The store and the array of the student's features, where it has them of every view."""
    reader = opened.reader
    if feature_array(plan.config) not in reader.arrays:
        return None
    check_stored_features(reader, plan.config, reader.num_images, reader.num_seeds)
    return reader, feature_array(plan.config)
