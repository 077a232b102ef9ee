"""How far a decoded label can be from what the teacher computed: worst cases, proved here, for each encoding.

All are against exact arithmetic on the teacher's own float32 numbers. A float16 number differs from what it was
rounded from by at most u/(1+u) of it, u = 2^-11, and below 2^-14 by at most 2^-25. Letters: C classes, D embedding,
K kept classes; d is a class's distance in logits below the best one, q the best one's probability.

**Moving the logits.** Let each logit move by e_k, evenly from 0 to e_k. Then dp_c = p_c (e_c - sum_k p_k e_k).
Where |e_k| <= E for all, the odds of c change by exp(2E) at most, so p_c by tanh(E/2) at most, at any p_c.
Where |e_k| <= u d_k, the largest stays where it is, and with r = 1 - q
    of the best:  |dp| <= u q sum_k p_k d_k <= u q r (ln(C-1) + ln(q/r))  (the others alike: largest entropy)
                       <= u (ln(C-1)/4 + 0.2239),                         0.2239 = max of q r ln(q/r)
    of another:   |dp| <= u (p (1-p) ln(q/p) + p s (ln(C-2) + ln(q/s)))   with s = 1 - p - q and p <= q
                       <= u (0.2239 + ln(C-2)/8 + 0.0697), which is less, as ps <= 1/8 and 0.0697 <= ln(C-1)/8.
_ROUNDING is u with the little that float32's subtraction and the way from 0 to e_k (d changes by a part of u) add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDING = 2.0**-11 * (1 + 2.0**-10)
_SUBNORMAL = 2.0**-25


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a source of labels promises.

    Args:
        probability: largest error of a class's probability, where the best of the classes asked for is the best of
            all that the view's logits were stored over.
        per_distance: what is added to it for each unit that the best of those asked for lies below the best of all.
        words: the same, for people.
    """

    probability: float
    per_distance: float = 0.0
    words: str

    def at(self, distance: float) -> float:
        """Largest error of a probability among classes whose best lies `distance` logits below the best of all."""
        return min(1.0, self.probability + self.per_distance * distance)


def embedding_logit_error(scale: float, width: int, text_norm: float = 1.0) -> float:
    """Largest error of a logit from a stored embedding.

    By Cauchy-Schwarz the error of scale * (e . t) is at most scale |t| times the norm of the embedding's rounding
    error, which is at most 2^-11 |e| + 2^-25 sqrt(D); a float32 product of D terms in any order, with the scale,
    adds (D + 8) 2^-24. The slack in u/(1+u) and in the 8 covers norms within `encodings.UNIT_TOLERANCE` of 1.

    Args:
        scale: factor of the cosines.
        width: D, at most 4096.
        text_norm: largest norm of a text embedding.
    """
    roundings = 2.0**-11 + _SUBNORMAL * math.sqrt(width) + (width + 8) * 2.0**-24
    return scale * max(1.0, text_norm) * roundings


def embedding_bound(scale: float, width: int, text_norm: float = 1.0) -> Bound:
    """Bound of labels from stored embeddings: over any classes tanh(E/2), E from `embedding_logit_error`."""
    logit = embedding_logit_error(scale, width, text_norm)
    probability = math.tanh(logit / 2)
    return Bound(
        probability=probability,
        words=f"logits within {logit:.2g}, so probabilities within {probability:.2g}, over any classes",
    )


def logits_bound(num_classes: int) -> Bound:
    """Bound of stored logits over these classes: 2^-11 (ln(C-1)/4 + 0.2239), and 0 for one class.

    Among classes whose best lies b below the best of all, |e_k| <= u (b + d_k): that adds 2 p (1-p) u b <= u b/2. A
    logit clamped to -65504 has p = 0 before and after (among a part of the classes, wherever the bound is below 1).
    """
    probability = _own_rounding(num_classes)
    return Bound(
        probability=probability,
        per_distance=_ROUNDING / 2,
        words=f"probabilities within {probability:.2g} over {num_classes} classes; over classes whose best lies d "
        f"logits below the best of all, {_ROUNDING / 2:.2g} d more",
    )


def topk_bound(top_k: int, num_classes: int) -> Bound:
    """Bound of kept classes' probabilities over the whole list: as stored logits of K classes, for the mass of the
    others is known apart from it (see `others_mass_error`)."""
    probability = _own_rounding(top_k) + others_mass_error(num_classes)
    kept = f"probabilities of the {top_k} kept of {num_classes} classes within {probability:.2g}"
    spread = "" if top_k == num_classes else "; the mass of the others is known, and spread evenly over them"
    return Bound(probability=probability, words=kept + spread)


def others_mass_error(num_classes: int) -> float:
    """Largest error of the mass of classes that were not kept, beyond what kept classes' rounding moves: the float32
    of logsumexp (at most ln C) taken twice, for its value and its floor, and the float32 of one more logarithm."""
    return 2.0**-24 * (3 * math.log(num_classes) + 1)


def others_mass_relative_error(top_k: int) -> float:
    """Part of the others' mass that kept classes' rounding moves: u sum_k p_k d_k over those kept is at most
    u W((K-1)/e) <= u ln(1 + (K-1)/e), W Lambert's."""
    return _ROUNDING * math.log1p((top_k - 1) / math.e)


def _own_rounding(num_classes: int) -> float:
    if num_classes == 1:
        return 0.0
    return _ROUNDING * (math.log(num_classes - 1) / 4 + 0.2239) + _SUBNORMAL
