"""Where targets come from. All three share one protocol: the training loop does not know which it has.

Letters: B batch, C classes of the student.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.labels_manifest import CLASS_LIST, class_columns
from fdbpl.pipeline.values import Targets, Views
from fdbpl.pipeline.windows import Pixels


class Supervision(Protocol):
    def targets(self, views: Views) -> Targets:
        """What is to be learned from these views."""


class HardLabels:
    """The true labels alone."""

    def targets(self, views: Views) -> Targets:
        return Targets(labels_B=views.labels_B)


class StoredTeacher:
    """The teacher's logits as a store holds them, in the columns of the student's own classes.

    Raises:
        ValueError: the store does not know one of the classes.
    """

    def __init__(self, reader: Reader, class_names: Sequence[str], device: torch.device) -> None:
        self._reader, self._device = reader, device
        columns_C = class_columns(reader.class_list(CLASS_LIST), class_names, str(reader.path))
        # Classes that are the store's own first columns need no gather: a plain slice serves.
        prefix = np.array_equal(columns_C, np.arange(len(columns_C)))
        self._columns: slice | np.ndarray = slice(0, len(columns_C)) if prefix else columns_C

    def targets(self, views: Views) -> Targets:
        logits = self._reader.read("teacher/logits", views.image_ids_B.numpy(), views.seeds_B.numpy())
        logits_BC = torch.from_numpy(np.ascontiguousarray(logits[:, self._columns])).to(self._device)
        return Targets(labels_B=views.labels_B, teacher_logits_BC=logits_BC.to(torch.float32))


class OnlineTeacher:
    """The teacher run on the pixels of every view, in every step: what a store saves."""

    def __init__(
        self,
        teacher: Backbone,
        pixels: Pixels,
        class_names: Sequence[str],
        templates: Sequence[str],
    ) -> None:
        self._teacher, self._pixels = teacher, pixels
        self._classifier_CD = text_classifier(teacher, class_names, templates)

    def targets(self, views: Views) -> Targets:
        embedding_BD = self._teacher.encode_pixels(self._cut(views))
        logits_BC = self._teacher.logit_scale * embedding_BD @ self._classifier_CD.T
        return Targets(labels_B=views.labels_B, teacher_logits_BC=logits_BC)

    def _cut(self, views: Views) -> Tensor:
        size = self._teacher.image_size
        if views.pixels_BCHW is not None and views.pixels_BCHW.shape[-1] == size:
            return views.pixels_BCHW
        return self._pixels(views.image_ids_B.numpy(), views.seeds_B.numpy(), size)
