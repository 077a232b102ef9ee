"""FDBPL's cascade of positive-minus-negative prompt differences: as published, and the ranking that it was meant to be.

The published loop visits each ordered pair of classes and averages d_a - d_b, so that it sums to zero whatever the
prompts are. The ranking form asks instead that an image's feature lie further along its own class's difference than
along another's. It is computed for all pairs at once.
Letters: B batch, C classes, D embedding.
"""

import torch
from torch import Tensor


def published_cascade(differences_CD: Tensor, labels_B: Tensor) -> Tensor:
    """The published term: the sum over ordered pairs (a, b), a != b, of classes in the batch of mean(d_a - d_b).

    It is identically zero, as are its gradients: the pair (a, b) cancels (b, a). What is left is rounding.

    Args:
        differences_CD: the classes' positive minus negative text features.
        labels_B: integer class of each example, below C.

    Returns:
        Scalar float32.
    """
    # Of the classes of all examples, each class counted once: what depends on how many there are has no fixed shape.
    is_first_B = (labels_B[:, None] == labels_B[None, :]).tril(diagonal=-1).any(dim=1).logical_not()
    mean_B = differences_CD[labels_B].to(torch.float32).mean(dim=-1)
    pairs_BB = is_first_B[:, None] & is_first_B[None, :]
    return torch.where(pairs_BB, mean_B[:, None] - mean_B[None, :], torch.zeros_like(mean_B)).sum()


def difference_ranking(projections_BC: Tensor, labels_B: Tensor, weights_B: Tensor, margin: float = 0.2) -> Tensor:
    """Mean over the pairs of examples with unlike labels of w_i w_j relu(margin - (f_i - f_j).(d_a - d_b)).

    a and b are the labels of i and j, f_i is an image's feature and d_c the positive minus the negative text feature
    of class c. The pair (i, j) and the pair (j, i) give the same value, so each counts once. All that it asks of
    features and prompts are the products f_i . d_c, which are the difference of both prompts' cosines: positive minus
    negative logits, over the model's scale.

    Args:
        projections_BC: f_i . d_c.
        labels_B: integer class of each example, below C.
        weights_B: weight of each example.
        margin: hinge margin.

    Returns:
        Scalar float32; zero where no two labels differ.

    Raises:
        ValueError: shapes that do not fit together.
    """
    num_examples = projections_BC.shape[0]
    if labels_B.shape != (num_examples,) or weights_B.shape != (num_examples,):
        raise ValueError(
            f"found {num_examples} examples, labels {tuple(labels_B.shape)} and weights "
            f"{tuple(weights_B.shape)}, expected one label and one weight for each"
        )
    # Where the hinge is open it is linear: the products' coefficients are found outside of differentiation, and what is
    # differentiated is one sum of products.
    picked_BB = _columns(projections_BC, labels_B).to(torch.float32)  # [i, j] = f_i . d(label of j)
    fixed_BB = picked_BB.detach()
    behind_BB = fixed_BB - fixed_BB.diagonal().unsqueeze(-1)
    unlike_BB = labels_B.unsqueeze(-1) != labels_B
    open_BB = (behind_BB + behind_BB.T > -margin).logical_and_(unlike_BB)
    # Ordered pairs appear twice above and below, so the mean is over unordered pairs.
    weights_B = weights_B.to(torch.float32)
    coefficient_BB = (weights_B / unlike_BB.sum().clamp(min=1)).unsqueeze(-1) * weights_B * open_BB
    sum_B = coefficient_BB.sum(dim=-1)
    # The gap of i and j has both own products less both others; by symmetry each is there twice.
    coefficient_BB.diagonal().sub_(sum_B)
    return torch.dot(coefficient_BB.flatten(), picked_BB.flatten()) * 2 + sum_B.sum() * margin


def _columns(projections_BC: Tensor, labels_B: Tensor) -> Tensor:
    if projections_BC.is_cuda:  # there the gradient of the other depends on which thread comes first
        return projections_BC[:, labels_B]
    return projections_BC.index_select(1, labels_B)
