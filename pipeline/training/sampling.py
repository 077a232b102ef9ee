"""Which views an epoch uses, in what order: a function of (policy, student's seed, epoch) alone.

Every image is seen once an epoch. Under which crop seed is a policy:

- `cycle`: the epoch modulo the number of seeds;
- `random`: any, drawn anew for each image and epoch;
- `informative`: drawn in proportion to the teacher's weight w = 1 - H(T)/log C of each crop of the image;
- `curriculum`: like `informative` in the first epoch, evenly from the middle of the training on, and between them a
  mixture that goes from the one to the other.

Letters: M training images, S seeds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdbpl.pipeline.config import ViewPolicy

# Part of the draws that is even over all seeds, so that no crop is out of reach and no importance above 1 / EVEN.
EVEN = 0.1
# Part of the training over which a curriculum goes from informative crops to all.
CURRICULUM = 0.5


@dataclass(frozen=True, kw_only=True)
class EpochViews:
    """The views of an epoch: crop seeds int64 [M], and how much each view's loss counts, float32 [M], None where all
    count alike."""

    seeds_M: npt.NDArray[np.int64]
    importance_M: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampler:
    """A policy with all that it draws from.

    Attributes:
        num_images, num_seeds, num_epochs: M, S, and the epochs of the whole training.
        seed: the student's.
        weights_MS: the teacher's weight of each crop, for policies that weigh.
        importance: with `informative`, count each view by (1/S) / (its probability): the expected loss is then that of
            even draws.
    """

    policy: ViewPolicy
    num_images: int
    num_seeds: int
    num_epochs: int
    seed: int
    weights_MS: npt.NDArray[np.float32] | None = None
    importance: bool = False

    def epoch(self, number: int) -> EpochViews:
        """The views of that epoch, from 0."""
        if self.policy == "cycle":
            return EpochViews(seeds_M=np.full(self.num_images, number % self.num_seeds, dtype=np.int64))
        # The order of images is drawn from the same key: the jump leads far beyond it.
        random = np.random.Generator(np.random.Philox(key=[self.seed, number]).jumped())
        if self.policy == "random":
            return EpochViews(seeds_M=random.integers(self.num_seeds, size=self.num_images, dtype=np.int64))
        probabilities_MS = self._probabilities(number)
        edges_MS = probabilities_MS.cumsum(axis=1)
        edges_MS[:, -1] = 1.0
        draws_M = random.random(self.num_images)
        seeds_M = (draws_M[:, None] >= edges_MS).sum(axis=1)
        if not self.importance:
            return EpochViews(seeds_M=seeds_M)
        drawn_M = probabilities_MS[np.arange(self.num_images), seeds_M]
        return EpochViews(seeds_M=seeds_M, importance_M=(1.0 / (self.num_seeds * drawn_M)).astype(np.float32))

    def _probabilities(self, number: int) -> npt.NDArray[np.float64]:
        """How likely each crop is drawn in that epoch, [M, S]; rows sum to 1."""
        assert self.weights_MS is not None, "whoever makes the sampler of a weighing policy gives it the weights"
        weights_MS = self.weights_MS.astype(np.float64).clip(min=0.0)
        total_M1 = weights_MS.sum(axis=1, keepdims=True)
        even = 1.0 / self.num_seeds
        shares_MS = np.divide(weights_MS, total_M1, out=np.full_like(weights_MS, even), where=total_M1 > 0)
        part = EVEN
        if self.policy == "curriculum":
            part = max(EVEN, min(1.0, number / max(1.0, CURRICULUM * self.num_epochs)))
        mixed_MS: npt.NDArray[np.float64] = (1.0 - part) * shares_MS + part * even
        return mixed_MS


def epoch_order(sampler: Sampler, epoch: int, batch_size: int) -> npt.NDArray[np.int64]:
    """The positions of an epoch's images, int64 [steps * batch_size], each once, in an order drawn from (seed, epoch).

    An incomplete last batch is dropped, as in the field's recipe.
    """
    order = np.random.Generator(np.random.Philox(key=[sampler.seed, epoch])).permutation(sampler.num_images)
    return order[: len(order) - len(order) % batch_size]


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Whole batches of an epoch; a training set smaller than a batch is one batch."""
    return num_images // min(batch_size, num_images)
