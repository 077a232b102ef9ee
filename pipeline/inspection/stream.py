"""Going through a store's views a batch at a time, and keeping the few that lead by some number.

Memory is that of a batch and of what is kept, whatever the store's size. Letters: M images, S seeds, B views, K kept.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fdbpl.kernels.distillation import class_log_probs, entropy
from fdbpl.kernels.dual_prompt import informative_weight
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.labels.passes import OnProgress

# Views that are read at once: of a thousand classes 16 MB in float32.
BATCH = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """B views with the teacher's logits float32 [B, C], its weight 1 - H/log C and its entropy in nats, both [B]."""

    images_B: NDArray[np.int64]
    seeds_B: NDArray[np.int64]
    teacher_BC: Tensor
    weight_B: Tensor
    entropy_B: Tensor

    def top_B(self) -> NDArray[np.int64]:
        """The teacher's likeliest class of each view."""
        found: NDArray[np.int64] = self.teacher_BC.argmax(dim=-1).numpy()
        return found


def read_batch(opened: Opened, images_B: NDArray[np.int64], seeds_B: NDArray[np.int64]) -> Batch:
    """These views."""
    teacher_BC = torch.from_numpy(opened.labels.read(images_B, seeds_B))
    return Batch(
        images_B=images_B,
        seeds_B=seeds_B,
        teacher_BC=teacher_BC,
        weight_B=informative_weight(teacher_BC),
        entropy_B=entropy(class_log_probs(teacher_BC)),
    )


def batches(
    opened: Opened,
    images_M: NDArray[np.int64],
    on_progress: OnProgress | None = None,
    *,
    size: int = BATCH,
    by_image: bool = False,
) -> Iterator[Batch]:
    """All crops of these images.

    Args:
        on_progress: called with the views that are done, and all.
        size: views of a batch, at most.
        by_image: all crops of an image come together, as those want it who cut pixels; else seed by seed, as a store
            lies on the disk.
    """
    num_seeds, done = opened.reader.num_seeds, 0
    for images_B, seeds_B in _views(images_M, num_seeds, size, by_image=by_image):
        yield read_batch(opened, images_B, seeds_B)
        done += len(images_B)
        if on_progress is not None:
            on_progress(done, len(images_M) * num_seeds)


def _views(
    images_M: NDArray[np.int64], num_seeds: int, size: int, *, by_image: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Images and seeds of each batch."""
    if not by_image:
        for seed in range(num_seeds):
            for start in range(0, len(images_M), size):
                images_B = images_M[start : start + size]
                yield images_B, np.full(len(images_B), seed)
        return
    for start in range(0, len(images_M), max(1, size // num_seeds)):
        images = images_M[start : start + max(1, size // num_seeds)]
        images_V, seeds_V = np.repeat(images, num_seeds), np.tile(np.arange(num_seeds), len(images))
        for first in range(0, len(images_V), size):
            yield images_V[first : first + size], seeds_V[first : first + size]


def bins(values_B: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """The equal bin of [0, 1] that each value lies in; rounding beyond the ends does not leave them."""
    return np.clip((values_B * count).astype(np.int64), 0, count - 1)


@dataclass(eq=False)
class Leading:
    """The `most` views with the largest scores of all that were added, largest first, at most `per_image` of an image
    (0: any number); equal ones by image and seed, so that the order in which they come does not matter."""

    most: int
    per_image: int = 0
    images_K: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    seeds_K: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    scores_K: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))

    def add(self, scores_B: Tensor, batch: Batch, chosen_B: NDArray[np.bool_] | None = None) -> None:
        """Take in a batch, or those chosen of it."""
        new_B = scores_B.to(torch.float64).cpu().numpy()
        wanted_B = np.ones(len(new_B), bool) if chosen_B is None else chosen_B
        if len(self.scores_K) == self.most:
            wanted_B = wanted_B & (new_B >= self.scores_K[-1])  # whoever is behind all of them never gets among them
        scores = np.concatenate([self.scores_K, new_B[wanted_B]])
        images = np.concatenate([self.images_K, batch.images_B[wanted_B]])
        seeds = np.concatenate([self.seeds_K, batch.seeds_B[wanted_B]])
        first = self._first(np.lexsort((seeds, images, -scores)), images)
        self.scores_K, self.images_K, self.seeds_K = scores[first], images[first], seeds[first]

    def _first(self, order: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first of an order, not too many of one image."""
        if not self.per_image:
            return order[: self.most]
        counts: Counter[int] = Counter()
        first: list[int] = []
        for at in order.tolist():
            image = int(images[at])
            if counts[image] < self.per_image:
                counts[image] += 1
                first.append(at)
                if len(first) == self.most:
                    break
        return np.array(first, np.int64)
