"""Whether stored rows make sense: finite, and unit vectors where they are embeddings. Fast enough to read beside.

Both look at the bits of pieces that fit the processor's cache, without a copy of the file. Per thread of the
machine where they were written (sha256 1.8 GB/s): finite 21 GB/s, unit rows of float16 4.8 GB/s, where numpy's
own conversion from float16 to float32 alone does 0.5 GB/s.

Axis letters: R rows, D values of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.findings import NOT_FINITE, NOT_UNIT

EMBEDDING = "embedding"
_CHUNK_VALUES = 1 << 17  # smaller ones cost more calls, larger ones leave the cache
RowCheck = Callable[[npt.NDArray[np.uint8]], bool]
"""Whether all rows of a piece (their bytes, whole rows) are fine."""


def is_embedding(spec: ArraySpec) -> bool:
    """Whether an array's rows are unit vectors, by its name."""
    return spec.name.endswith(f"/{EMBEDDING}") and spec.is_float and len(spec.row_shape) == 1


def row_check(spec: ArraySpec, *, unit_norm: bool) -> RowCheck | None:
    """The check of an array's rows; None where every bit pattern is a fine value."""
    if not spec.is_float:
        return None
    if unit_norm and is_embedding(spec):
        return _UnitRows(spec)
    return _finite_check(spec.numpy_dtype)


def bad_rows(piece: npt.NDArray[np.uint8], spec: ArraySpec, *, unit_norm: bool) -> dict[str, npt.NDArray[np.int64]]:
    """The numbers of the rows that are not fine, by the kind of finding; slow, for planes that were caught."""
    values_RD = piece.view(spec.numpy_dtype).reshape(len(piece) // spec.row_bytes, -1)
    finite_R = np.isfinite(values_RD).all(axis=1)
    found = {NOT_FINITE: np.flatnonzero(~finite_R)}
    if unit_norm and is_embedding(spec):
        with np.errstate(invalid="ignore", over="ignore"):
            norm_R = np.linalg.norm(values_RD.astype(np.float64), axis=1)
        found[NOT_UNIT] = np.flatnonzero(finite_R & ~(np.abs(norm_R - 1) <= norm_tolerance(spec)))
    return found


def norm_tolerance(spec: ArraySpec) -> float:
    """How far from 1 the norm of a stored unit row may lie.

    Rounding changes each value x by at most eps/2 |x|, or by half the smallest subnormal number s, so the row by
    at most eps/2 in norm, and sqrt(D) s/2; as much again is allowed for a vector that was made unit in that
    precision. D 2^-24 is the most that adding up its squares in float32 is off.
    """
    kind = np.finfo(spec.dtype)
    width = math.prod(spec.row_shape)
    return float(kind.eps) + math.sqrt(width) * float(kind.smallest_subnormal) + width * 2.0**-24


def _finite_check(dtype: np.dtype[Any]) -> RowCheck:
    """As integers, positive infinity and NaN are the largest signed numbers, the negative ones the largest unsigned."""
    bits = dtype.itemsize * 8
    infinity = int(np.array(np.inf, dtype).view(f"<u{dtype.itemsize}"))
    signed, unsigned = np.dtype(f"<i{dtype.itemsize}"), np.dtype(f"<u{dtype.itemsize}")

    def check(piece: npt.NDArray[np.uint8]) -> bool:
        return bool(piece.view(signed).max() < infinity and piece.view(unsigned).max() < infinity + (1 << (bits - 1)))

    return check


class _UnitRows:
    """Sums the squares of each row. Scratch of its own: one for each thread.

    A float16 m, its sign shifted out, becomes a float32 of the same exponent and mantissa by one shift, smaller
    by 2^112 for the other bias; the product with that is exact, subnormal numbers too. Infinity and NaN become
    numbers above 65,000, which no unit row holds.
    """

    def __init__(self, spec: ArraySpec) -> None:
        self._spec, self._width = spec, math.prod(spec.row_shape)
        self._rows = max(1, _CHUNK_VALUES // self._width)
        self._halves_RD = np.empty((self._rows, self._width), np.uint16)
        self._bits_RD = np.empty((self._rows, self._width), np.uint32)
        self._low, self._high = ((1 + sign * norm_tolerance(spec)) ** 2 for sign in (-1, 1))

    def __call__(self, piece: npt.NDArray[np.uint8]) -> bool:
        values_RD = piece.view(self._spec.numpy_dtype).reshape(-1, self._width)
        with np.errstate(all="ignore"):
            return all(self._are_unit(values_RD[at : at + self._rows]) for at in range(0, len(values_RD), self._rows))

    def _are_unit(self, values_RD: npt.NDArray[Any]) -> bool:
        wide_RD = self._widened(values_RD) if values_RD.dtype.itemsize == 2 else values_RD
        squares_R = np.matmul(wide_RD[:, None, :], wide_RD[:, :, None])
        return bool(squares_R.min() >= self._low and squares_R.max() <= self._high)  # NaN fails both

    def _widened(self, values_RD: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        halves_RD, bits_RD = self._halves_RD[: len(values_RD)], self._bits_RD[: len(values_RD)]
        np.left_shift(values_RD.view(np.uint16), 1, out=halves_RD)
        np.copyto(bits_RD, halves_RD)
        np.left_shift(bits_RD, 12, out=bits_RD)
        wide_RD = bits_RD.view(np.float32)
        np.multiply(wide_RD, np.float32(2.0**112), out=wide_RD)
        return wide_RD
