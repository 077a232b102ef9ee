"""Where targets come from. All three share one protocol: the training loop does not know which it has.

Letters: B batch, C classes of the student.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.soft_labels import SoftLabels
from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.labels.decode import decode_on
from fdbpl.pipeline.loading.prefetch import prefetch_views
from fdbpl.pipeline.loading.transfer import to_device
from fdbpl.pipeline.loading.windows import Pixels
from fdbpl.pipeline.values import KeptLogits, Targets, Views


class Supervision(Protocol):
    @property
    def row_bytes(self) -> int:
        """Of a view's `rows`."""

    def rows(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[Tensor, ...]:
        """What is stored of these views, on the device: their `label_rows`. Called in another thread."""

    def targets(self, views: Views) -> Targets:
        """What is to be learned from these views."""

    def prefetch(self, images_M: np.ndarray, seeds_M: np.ndarray) -> None:
        """Begin to bring in what an epoch over these views will ask for; returns at once."""


class HardLabels:
    """The true labels alone."""

    row_bytes = 0

    def rows(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[Tensor, ...]:
        return ()

    def targets(self, views: Views) -> Targets:
        return Targets(labels_B=views.labels_B)

    def prefetch(self, images_M: np.ndarray, seeds_M: np.ndarray) -> None:
        """Nothing: the labels are here."""


class StoredTeacher:
    """The teacher's logits over class names, from whichever of its encodings the store holds."""

    def __init__(self, labels: SoftLabels, device: torch.device) -> None:
        self._labels, self._device = labels, device
        self._decode = decode_on(labels.decode, device)
        self.row_bytes = sum(labels.reader.arrays[array].row_bytes for array in labels.arrays)

    def rows(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[Tensor, ...]:
        read = self._labels.read_rows(images_B, seeds_B)
        return tuple(to_device(torch.from_numpy(rows), self._device) for rows in read)

    def targets(self, views: Views) -> Targets:
        logits = self._decode(views.label_rows)
        if isinstance(logits, KeptLogits):
            return Targets(labels_B=views.labels_B, kept=logits)
        return Targets(labels_B=views.labels_B, teacher_logits_BC=logits)

    def prefetch(self, images_M: np.ndarray, seeds_M: np.ndarray) -> None:
        prefetch_views(self._labels.reader, self._labels.arrays, images_M, seeds_M)


class LikeliestClasses:
    """Another supervision over a large vocabulary, cut down to the classes that the teacher finds likeliest on average
    over each batch (KDPL class-agnostic, arXiv 2407.03056)."""

    def __init__(self, whole: Supervision, most_classes: int) -> None:
        self._whole, self._most = whole, most_classes
        self.row_bytes = whole.row_bytes

    def rows(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[Tensor, ...]:
        return self._whole.rows(images_B, seeds_B)

    def targets(self, views: Views) -> Targets:
        targets = self._whole.targets(views)
        logits_BV = targets.teacher()
        mean_V = logits_BV.softmax(dim=-1).mean(dim=0)
        # In the order of the vocabulary, so that the same classes are always the same columns.
        chosen_K = mean_V.topk(min(self._most, len(mean_V))).indices.sort().values
        return replace(targets, teacher_logits_BC=logits_BV[:, chosen_K], kept=None, chosen_K=chosen_K)

    def prefetch(self, images_M: np.ndarray, seeds_M: np.ndarray) -> None:
        self._whole.prefetch(images_M, seeds_M)


class OnlineTeacher:
    """The teacher run on the pixels of every view, in every step: what a store saves."""

    row_bytes = 0

    def __init__(
        self,
        teacher: Backbone,
        pixels: Pixels,
        class_names: Sequence[str],
        templates: Sequence[str],
    ) -> None:
        self._teacher, self._pixels = teacher, pixels
        self._classifier_CD = text_classifier(teacher, class_names, templates)

    def rows(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[Tensor, ...]:
        return ()

    def targets(self, views: Views) -> Targets:
        embedding_BD = self._teacher.encode_pixels(self._cut(views))
        logits_BC = self._teacher.logit_scale * embedding_BD @ self._classifier_CD.T
        return Targets(labels_B=views.labels_B, teacher_logits_BC=logits_BC)

    def prefetch(self, images_M: np.ndarray, seeds_M: np.ndarray) -> None:
        """Nothing: image files are read in the order of batches."""

    def _cut(self, views: Views) -> Tensor:
        size = self._teacher.image_size
        if views.pixels_BCHW is not None and views.pixels_BCHW.shape[-1] == size:
            return views.pixels_BCHW
        return self._pixels(views.image_ids_B.numpy(), views.seeds_B.numpy(), size)
