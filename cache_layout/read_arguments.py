"""What a reader is asked for: views inside the store, and buffers that rows fit into. Checked before a row moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.errors import ViewOutOfRange


def index_vector(values: npt.ArrayLike, name: str) -> npt.NDArray[np.int64]:
    """Numbers as int64; ValueError unless they are a vector of integers."""
    vector = np.asarray(values)
    if vector.ndim != 1 or (vector.size and vector.dtype.kind not in "iu"):
        raise ValueError(f"{name}: found {vector.dtype} {vector.shape}, expected a vector of integers")
    return vector.astype(np.int64, copy=False)


def check_range(values: npt.ArrayLike, count: int, kind: str, store: Path) -> None:
    """ViewOutOfRange where a number is not one of 0 to count - 1, with the first that is not."""
    vector = index_vector(values, kind)
    outside = np.flatnonzero((vector < 0) | (vector >= count))
    if len(outside):
        position = int(outside[0])
        raise ViewOutOfRange(
            f"{kind} {vector[position]} at position {position}: the store at {store} has 0 to {count - 1}"
        )


def check_out(out: npt.NDArray[Any], spec: ArraySpec, count: int) -> None:
    """ValueError unless `count` rows of the array can be written to `out` as it is."""
    shape = (count, *spec.row_shape)
    fits = isinstance(out, np.ndarray) and out.shape == shape and out.dtype == spec.numpy_dtype
    if not fits or not out.flags.c_contiguous or not out.flags.writeable:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out: found {found}, expected a writable C-contiguous array, {spec.dtype} {shape}")
