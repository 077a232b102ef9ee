"""Telling images of no listed class from those of the listed ones, by three scores: higher means 'listed'.

- `max_probability`: the largest class probability, the usual baseline (Hendrycks and Gimpel, arXiv 1610.02136);
- `negative`: how much the likeliest class's positive prompt outweighs its negative one, z+ - z-;
- `both`: the probability of that class, times that of its positive prompt against its negative one.

AUROC is the probability that a listed image scores above an unlisted one; FPR95 the part of unlisted images that passes
where 95 % of the listed ones do, both in percent. Letters: N images, C classes, P listed, Q unlisted.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid


def scores(logits_NC: Tensor, margins_NC: Tensor | None) -> dict[str, NDArray[np.float64]]:
    """The scores [N] of images by scaled logits and by z+ - z-; those that need a negative prompt only where there is
    one."""
    log_probs_N, likeliest_N = logits_NC.to(torch.float64).log_softmax(dim=-1).max(dim=-1)
    found = {"max_probability": log_probs_N.numpy()}
    if margins_NC is not None:
        margin_N = margins_NC.to(torch.float64).gather(1, likeliest_N[:, None])[:, 0]
        found["negative"] = margin_N.numpy()
        found["both"] = (log_probs_N + logsigmoid(margin_N)).numpy()
    return found


def rejection(listed_P: NDArray[np.float64], unlisted_Q: NDArray[np.float64]) -> dict[str, float]:
    """AUROC and FPR95 of a score, in percent.

    Raises:
        ValueError: no image of one kind.
    """
    value = auc(listed_P, unlisted_Q)
    if value is None:
        raise ValueError(f"found {len(listed_P)} listed and {len(unlisted_Q)} unlisted images, expected some of both")
    # The largest threshold that at least 95 % of the listed images reach.
    threshold = np.sort(listed_P)[int(np.floor(0.05 * len(listed_P)))]
    return {"auroc": round(100.0 * value, 2), "fpr95": round(100.0 * float((unlisted_Q >= threshold).mean()), 2)}


def auc(positive_P: NDArray[np.floating], negative_Q: NDArray[np.floating]) -> float | None:
    """Probability that a positive scores above a negative, ties counted half; None where one kind is absent."""
    if not len(positive_P) or not len(negative_Q):
        return None
    ordered_Q = np.sort(negative_Q)
    below = np.searchsorted(ordered_Q, positive_P, side="left")
    not_above = np.searchsorted(ordered_Q, positive_P, side="right")
    return float((below + not_above).mean() / (2 * len(ordered_Q)))
