"""The three encodings of what a teacher says of views: as float32 is computed, as few bytes are stored.

`embedding` serves any class list, `logits` any part of one list, `topk` one whole list. Pure functions of their
arguments: no encoding depends on the batch that a view comes in, and ties are broken by class number. How far off
what is decoded can be is proved in `error_bounds`. Logits are scaled cosines; only their differences matter.
Letters: B views, C classes, K kept classes, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec

ENCODINGS = ("embedding", "logits", "topk")
EMBEDDING, LOGITS = "teacher/embedding", "teacher/logits"
TOPK = ("teacher/topk_value", "teacher/topk_index", "teacher/logsumexp")

LOWEST = -65504.0
"""float16's lowest finite number: what lies further below the largest is stored as this, and its p is 0."""
UNIT_TOLERANCE = 2.0**-13
"""How far a norm may be from 1 for a vector to count as a unit vector."""
_FLOAT32_ROUNDOFF = 2.0**-24

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]


class NotFiniteRow(ValueError):
    """Values to be encoded hold NaN or infinity, first in row `row` of the batch."""

    def __init__(self, what: str, row: int) -> None:
        super().__init__(what, row)
        self.what, self.row = what, row

    def __str__(self) -> str:
        return f"{self.what}, row {self.row}: found NaN or infinity, expected finite values"


class TopK(NamedTuple):
    """The rows of `TOPK`, in its order.

    value_BK: float16, the K largest logits less the view's largest, descending; the first is 0.
    index_BK: uint16, or uint32 for more than 65536 classes: their class numbers; equal logits by class number.
    logsumexp_B: float32, relative to the largest as well: log of the sum of exp over all C classes, with kept
        classes as stored. So exp(value - logsumexp) is a kept class's probability, and 1 less their sum is the
        others' mass, free of what rounding did to the kept ones.
    """

    value_BK: Half
    index_BK: npt.NDArray[Any]
    logsumexp_B: Single


def label_arrays(encodings: Iterable[str], *, width: int, num_classes: int, top_k: int) -> tuple[ArraySpec, ...]:
    """The arrays of some encodings, in the order of `ENCODINGS`.

    Args:
        encodings: some of `ENCODINGS`.
        width: D.
        num_classes: C.
        top_k: K, at most C; looked at for `topk` alone.

    Raises:
        ValueError: an unknown encoding, a K that is not 1 to C.
    """
    wanted = set(encodings)
    if unknown := sorted(wanted - set(ENCODINGS)):
        raise ValueError(f"encodings: found {', '.join(unknown)}, expected some of {', '.join(ENCODINGS)}")
    specs: list[ArraySpec] = []
    if "embedding" in wanted:
        specs.append(ArraySpec(name=EMBEDDING, row_shape=(width,), dtype="float16"))
    if "logits" in wanted:
        specs.append(ArraySpec(name=LOGITS, row_shape=(num_classes,), dtype="float16"))
    if "topk" in wanted:
        check_top_k(top_k, num_classes)
        rows = ((top_k,), "float16"), ((top_k,), _index_dtype(num_classes).name), ((), "float32")
        specs += [
            ArraySpec(name=name, row_shape=row, dtype=dtype) for name, (row, dtype) in zip(TOPK, rows, strict=True)
        ]
    return tuple(specs)


def check_top_k(top_k: int, num_classes: int) -> None:
    """ValueError unless 1 <= top_k <= num_classes."""
    if not 1 <= top_k <= num_classes:
        raise ValueError(f"top_k: found {top_k}, expected 1 to {num_classes}, the number of classes")


def encode_embedding(embedding_BD: Single) -> Half:
    """Round unit vectors to float16.

    Args:
        embedding_BD: float32, each row's norm within `UNIT_TOLERANCE` of 1.

    Raises:
        ValueError: another type or shape, NaN or infinity, rows that are not unit vectors.
    """
    _check(embedding_BD, "embedding")
    norms_B = np.linalg.norm(embedding_BD.astype(np.float64), axis=1)
    if (bad := np.flatnonzero(np.abs(norms_B - 1) > UNIT_TOLERANCE)).size:
        raise ValueError(f"embedding, row {bad[0]}: found norm {norms_B[bad[0]]:.6g}, expected a unit vector")
    return embedding_BD.astype(np.float16)


def decode_embedding(embedding_BD: Half, scaled_text_CD: Single) -> Single:
    """Logits [B, C] float32 over classes whose unit text embeddings, times the logit scale, are given in float32.

    The stored vectors are not made unit again. That would take away the part of their error that lies along them,
    but the worst error lies across, where it changes nothing (the worst chord grows by u^2/8); so the bound would
    not improve, and every batch would pay for it.
    """
    logits_BC: Single = embedding_BD.astype(np.float32) @ scaled_text_CD.T
    return logits_BC


def encode_logits(logits_BC: Single) -> Half:
    """Each view's logits less its largest, in float16, not below `LOWEST`: fine where the probabilities are.

    Args:
        logits_BC: float32, finite.

    Raises:
        ValueError: another type or shape, no class, NaN or infinity.
    """
    return _half(_below_largest(logits_BC))


def decode_logits(logits_BC: npt.NDArray[Any]) -> Single:
    """Stored logits, or some columns of them, as contiguous float32 [B, C]."""
    return np.ascontiguousarray(logits_BC, dtype=np.float32)


def encode_topk(logits_BC: Single, top_k: int) -> TopK:
    """The K largest logits of each view; see `TopK`. O(C + K log K) a view, and 16 C bytes meanwhile.

    Args:
        logits_BC: float32, finite.
        top_k: K, 1 to C.

    Raises:
        ValueError: another type or shape, no class, NaN or infinity, another K.
    """
    below_BC = _below_largest(logits_BC)
    num_classes = below_BC.shape[1]
    check_top_k(top_k, num_classes)
    # The bits of numbers from 0 on are in the order of the numbers: one integer orders by distance, then by class.
    distance_bits_BC = np.abs(below_BC).view(np.uint32).astype(np.uint64)
    keys_BC = (distance_bits_BC << np.uint64(32)) | np.arange(num_classes, dtype=np.uint64)
    kept_BK = np.sort(np.partition(keys_BC, top_k - 1, axis=1)[:, :top_k], axis=1)
    index_BK = (kept_BK & np.uint64(2**32 - 1)).astype(np.int64)
    value_BK = _half(np.take_along_axis(below_BC, index_BK, axis=1))
    as_stored_BC = below_BC.astype(np.float64)
    np.put_along_axis(as_stored_BC, index_BK, value_BK.astype(np.float64), axis=1)
    # The largest, whose exp is 1, is left to log1p: where the others are tiny, so is the result's error.
    np.put_along_axis(as_stored_BC, index_BK[:, :1], -np.inf, axis=1)
    logsumexp_B = np.log1p(np.exp(as_stored_BC).sum(axis=1)).astype(np.float32)
    return TopK(value_BK, index_BK.astype(_index_dtype(num_classes)), logsumexp_B)


def decode_topk(rows: TopK, num_classes: int) -> Single:
    """Logits [B, C] float32 over the whole class list: kept classes as stored, the others' mass spread evenly.

    Mass below what `logsumexp` can tell (2^-24 of itself, times the whole) is taken as that much, so that no
    logarithm is infinite; none is below `LOWEST`. With K = C the values are those of `encode_logits`.
    """
    value_BK = rows.value_BK.astype(np.float32)
    num_others = num_classes - value_BK.shape[1]
    others_B = np.zeros(len(value_BK), np.float32)
    if num_others:
        logsumexp_B = rows.logsumexp_B.astype(np.float64)
        kept_B = np.exp(value_BK[:, 1:].astype(np.float64)).sum(axis=1)
        resolved_B = _FLOAT32_ROUNDOFF * logsumexp_B * np.exp(logsumexp_B)
        with np.errstate(divide="ignore"):
            logarithm_B = np.log(np.maximum(np.expm1(logsumexp_B) - kept_B, resolved_B) / num_others)
        others_B = np.maximum(logarithm_B, LOWEST).astype(np.float32)
    logits_BC = np.repeat(others_B[:, None], num_classes, axis=1)
    np.put_along_axis(logits_BC, rows.index_BK.astype(np.int64), value_BK, axis=1)
    return logits_BC


def _index_dtype(num_classes: int) -> np.dtype[Any]:
    return np.dtype(np.uint16 if num_classes <= 2**16 else np.uint32)


def _below_largest(logits_BC: Single) -> Single:
    """Logits less each view's largest: 0 or less, -inf where float32 cannot hold the difference."""
    _check(logits_BC, "logits")
    with np.errstate(over="ignore"):
        below_BC: Single = logits_BC - logits_BC.max(axis=1, keepdims=True)
    return below_BC


def _half(below_BC: Single) -> Half:
    return np.maximum(below_BC, np.float32(LOWEST)).astype(np.float16)


def _check(values: Single, what: str) -> None:
    if values.ndim != 2 or values.dtype != np.float32 or not values.shape[1]:
        raise ValueError(f"{what}: found {values.dtype} {values.shape}, expected float32 [views, 1 or more]")
    finite_B = np.isfinite(values).all(axis=1)
    if not finite_B.all():
        raise NotFiniteRow(what, int(np.argmin(finite_B)))
