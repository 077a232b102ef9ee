"""The views of students' epochs in the order of their steps, brought in chunks ahead of the steps.

Where all that a view needs is stored, many steps' views are read at once, move to the device in one copy for each
array, and steps take parts of them: a few-shot student's next hundred epochs cost one read, an epoch that is larger
than a chunk streams. Where pixels are cut, a chunk is a step. Students that train together have the same number of
steps; their views then have an axis of students first.
Letters: N students, V views of a chunk, B views of a step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from fdbpl.pipeline.loading.batches import made_ahead
from fdbpl.pipeline.loading.transfer import to_device
from fdbpl.pipeline.training.ingredients import Ingredients, brought
from fdbpl.pipeline.training.sampling import EpochViews, epoch_order, steps_per_epoch
from fdbpl.pipeline.values import Views

# Of all that students may ever read: where it is no more, it stays in memory once read, and is asked for once.
KEPT_BYTES = 2**30
# Of rows in a chunk: large enough that a copy's start costs nothing, small beside any model. Two chunks are alive.
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Views of whole steps, one step after another: int64 [N, V]; importance float32, None where all count alike."""

    images_NV: npt.NDArray[np.int64]
    seeds_NV: npt.NDArray[np.int64]
    labels_NV: npt.NDArray[np.int64]
    importance_NV: npt.NDArray[np.float32] | None

    def part(self, start: int, stop: int) -> "Chunk":
        importance_NV = self.importance_NV
        return Chunk(
            images_NV=self.images_NV[:, start:stop],
            seeds_NV=self.seeds_NV[:, start:stop],
            labels_NV=self.labels_NV[:, start:stop],
            importance_NV=None if importance_NV is None else importance_NV[:, start:stop],
        )


class ViewStream:
    """What students see, epoch by epoch: another thread brings the next views until it is closed."""

    def __init__(self, students: Sequence[Ingredients], *, batch_size: int, epochs: range) -> None:
        """Students of as many images each, which share `source` and `supervision`."""
        first = students[0]
        self._students, self._epochs = students, epochs
        self._source = first.source
        self._device = first.learner.backbone.device
        self._batch = min(batch_size, len(first.training))
        self.steps_per_epoch = steps_per_epoch(len(first.training), batch_size)
        row_bytes = first.source.row_bytes + first.supervision.row_bytes
        # Half of a chunk: pieces are put together until there are as many.
        most = 1 + CHUNK_BYTES // 2 // (max(row_bytes, 1) * self._batch * len(students))
        self._steps = 1 if first.source.cuts_pixels else most
        self._brought = made_ahead(self._chunks(), self._bring, first.source.ahead)
        self._batches = self._split()
        # Drawing is not cheap where views are weighed: each epoch is drawn once, to be asked for and to be taken.
        self._next: list[EpochViews] | None = None
        self._images_V = np.concatenate([student.training.image_ids_M for student in students])
        num_seeds = first.sampler.num_seeds
        is_kept = len(self._images_V) * num_seeds * row_bytes <= KEPT_BYTES
        self._is_asked_VS = np.zeros((len(self._images_V), num_seeds), dtype=np.bool_) if is_kept else None

    def close(self) -> None:
        self._brought.close()

    def epoch(self) -> Iterator[Views]:
        """The steps of the next epoch: each field [B, ...], or [N, B, ...] of several students."""
        for _ in range(self.steps_per_epoch):
            yield self._source.complete(next(self._batches))

    def _split(self) -> Iterator[Views]:
        axis = 0 if len(self._students) == 1 else 1
        for views in self._brought:
            for start in range(0, views.labels_B.shape[axis], self._batch):
                yield views.each(lambda value, start=start: value.narrow(axis, start, self._batch))  # type: ignore[misc]

    def _chunks(self) -> Iterator[Chunk]:
        kept: list[Chunk] = []
        num_views, enough = 0, self._steps * self._batch
        for epoch in self._epochs:
            whole = self._epoch(epoch)
            for start in range(0, whole.labels_NV.shape[1], enough):
                kept.append(whole.part(start, start + enough))
                num_views += kept[-1].labels_NV.shape[1]
                if num_views >= enough:
                    yield _joined(kept)
                    kept, num_views = [], 0
        if kept:
            yield _joined(kept)

    def _epoch(self, epoch: int) -> Chunk:
        """All views of an epoch; what comes after them is asked for, so that it is in memory when it is read."""
        chosen = self._next or self._sampled(epoch)
        self._next = self._sampled(epoch + 1) if epoch + 1 < self._epochs.stop else None
        order_NV = np.stack([epoch_order(student.sampler, epoch, self._batch) for student in self._students])
        training = [student.training for student in self._students]
        importance = [one.importance_M for one in chosen]
        ones_M = np.ones(len(training[0]), dtype=np.float32)
        return Chunk(
            images_NV=_taken([one.image_ids_M for one in training], order_NV),
            seeds_NV=_taken([one.seeds_M for one in chosen], order_NV),
            labels_NV=_taken([one.labels_M for one in training], order_NV),
            importance_NV=None
            if all(one is None for one in importance)
            else _taken([ones_M if one is None else one for one in importance], order_NV),
        )

    def _sampled(self, epoch: int) -> list[EpochViews]:
        """What each student sees in an epoch, which is asked for."""
        chosen = [student.sampler.epoch(epoch) for student in self._students]
        self._prefetch(self._images_V, np.concatenate([one.seeds_M for one in chosen]))
        return chosen

    def _prefetch(self, images_V: npt.NDArray[np.int64], seeds_V: npt.NDArray[np.int64]) -> None:
        if self._is_asked_VS is not None:
            views_V = np.arange(len(images_V))
            is_new_V = ~self._is_asked_VS[views_V, seeds_V]
            self._is_asked_VS[views_V, seeds_V] = True
            images_V, seeds_V = images_V[is_new_V], seeds_V[is_new_V]
        if len(images_V):
            for reading in (self._source, self._students[0].supervision):
                reading.prefetch(images_V, seeds_V)

    def _bring(self, chunk: Chunk) -> Views:
        flat = (chunk.images_NV.reshape(-1), chunk.seeds_NV.reshape(-1), chunk.labels_NV.reshape(-1))
        views = brought(self._students[0], *flat)
        if chunk.importance_NV is not None:
            importance_V = to_device(torch.from_numpy(chunk.importance_NV.reshape(-1)), self._device)
            views = replace(views, importance_B=importance_V)
        if len(self._students) == 1:
            return views
        return views.each(lambda value: value.unflatten(0, chunk.labels_NV.shape))


def _taken(values: Sequence[np.ndarray], order_NV: np.ndarray) -> np.ndarray:
    return np.stack([value[order_V] for value, order_V in zip(values, order_NV, strict=True)])


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    first = chunks[0]

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(chunk, name) for chunk in chunks], axis=1)

    return Chunk(
        images_NV=join("images_NV"),
        seeds_NV=join("seeds_NV"),
        labels_NV=join("labels_NV"),
        importance_NV=None if first.importance_NV is None else join("importance_NV"),
    )
