"""The ranking of positive-minus-negative prompt differences that FDBPL's cascade term was meant to be.

The published loop visits each ordered pair of classes and averages d_a - d_b, so that it sums to zero
whatever the prompts are. The ranking form asks instead that an image's feature lie further along its own
class's difference than along another's. It is computed for all pairs by one matrix product.
Letters: B batch, C classes, D embedding.
"""

import torch
from torch import Tensor


def difference_ranking(
    features_BD: Tensor, differences_CD: Tensor, labels_B: Tensor, weights_B: Tensor, margin: float = 0.2
) -> Tensor:
    """Mean over the pairs of examples with unlike labels of w_i w_j relu(margin - (f_i - f_j).(d_a - d_b)).

    a and b are the labels of i and j, and d_c is the positive minus the negative text feature of class c.
    The pair (i, j) and the pair (j, i) give the same value, so each counts once.

    Args:
        features_BD: image features.
        differences_CD: differences of the classes' text features.
        labels_B: integer class of each example, below C.
        weights_B: weight of each example.
        margin: hinge margin.

    Returns:
        Scalar float32; zero where no two labels differ.

    Raises:
        ValueError: shapes that do not fit together.
    """
    num_examples = features_BD.shape[0]
    if labels_B.shape != (num_examples,) or weights_B.shape != (num_examples,):
        raise ValueError(
            f"found {num_examples} features, labels {tuple(labels_B.shape)} and weights "
            f"{tuple(weights_B.shape)}, expected one label and one weight for each feature"
        )
    if features_BD.shape[1:] != differences_CD.shape[1:]:
        raise ValueError(
            f"found features of width {features_BD.shape[-1]} and differences of width "
            f"{differences_CD.shape[-1]}, expected the same"
        )
    own_BD = differences_CD[labels_B].to(torch.float32)
    projection_BB = features_BD.to(torch.float32) @ own_BD.T  # [i, j] = f_i . d(label of j)
    own_B = projection_BB.diagonal()
    gap_BB = own_B[:, None] + own_B[None, :] - projection_BB - projection_BB.T
    weight_BB = (weights_B[:, None] * weights_B[None, :]).to(torch.float32)
    unlike_BB = labels_B[:, None] != labels_B[None, :]
    hinge_BB = torch.where(unlike_BB, weight_BB * (margin - gap_BB).clamp(min=0), torch.zeros_like(gap_BB))
    # Ordered pairs appear twice above and below, so the mean is over unordered pairs.
    return hinge_BB.sum() / unlike_BB.sum().clamp(min=1)
