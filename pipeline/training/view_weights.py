"""How much the teacher can tell of each stored crop: what policies that weigh draw views by."""

import numpy as np
import numpy.typing as npt
import torch

from fdbpl.cache_layout.soft_labels import SoftLabels
from fdbpl.kernels.dual_prompt import informative_weight


def view_weights(labels: SoftLabels, images_M: npt.NDArray[np.int64], num_seeds: int) -> npt.NDArray[np.float32]:
    """w = 1 - H/log C of the crops of M images under S seeds, float32 [M, S]. Labels are read once, seed by seed."""
    weights_MS = np.empty((len(images_M), num_seeds), dtype=np.float32)
    for seed in range(num_seeds):
        logits_MC = labels.read(images_M, np.full(len(images_M), seed))
        weights_MS[:, seed] = informative_weight(torch.from_numpy(logits_MC)).numpy()
    return weights_MS
