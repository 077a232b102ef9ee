"""Crop windows as a pure function of (policy, image path, image size, seed).

Random numbers come from the counter-based generator in `philox.py`, keyed by the image's relative path and
counted by (seed, attempt, purpose): a window never depends on the order, size or make-up of the batch, nor
on worker, rank or epoch. A window always lies inside its image. The windows follow torchvision's
RandomResizedCrop: ten draws of (area, aspect ratio), then the central window with the ratio clipped. Cost:
about 2 us a view in large batches. Logarithm and exponential are the machine's: where two machines round
them otherwise, one window in about 10**12 may differ by a pixel, which is why a store keeps the windows
that were used.

Axis letters: B views.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.philox import philox4x32, uniform

ALGORITHM = "random-resized-crop/philox4x32-10/1"
ATTEMPTS = 10
_WINDOW, _FLIP = 0, 1  # the counter's last word: what a draw is for


@dataclass(frozen=True, kw_only=True)
class CropPolicy:
    """How windows are drawn.

    Args:
        size: side in pixels of the square that a window is resized to; at least 1.
        scale: bounds of the window's share of the image's area; 0 < low <= high <= 1.
        ratio: bounds of width / height, drawn log-uniformly; 0 < low <= high.
        flip_probability: of a horizontal flip; 0 to 1.
    """

    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("scale", "ratio"):
            low, high = (float(bound) for bound in getattr(self, name))
            object.__setattr__(self, name, (low, high))
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"crop size: found {self.size!r}, expected a positive integer")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"crop scale: found {self.scale}, expected 0 < low <= high <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ValueError(f"crop ratio: found {self.ratio}, expected 0 < low <= high")
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"flip_probability: found {self.flip_probability}, expected 0 to 1")

    def to_json(self) -> dict[str, Any]:
        """The policy as JSON fields, with the name of the algorithm, for a manifest."""
        fields = asdict(self)
        return {"algorithm": ALGORITHM, **fields, "scale": list(self.scale), "ratio": list(self.ratio)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> CropPolicy:
        """The policy that `to_json` wrote; ValueError for an unknown field or another algorithm."""
        values = dict(fields)
        algorithm = values.pop("algorithm", None)
        if algorithm != ALGORITHM:
            raise ValueError(f"crop algorithm: found {algorithm!r}, expected {ALGORITHM!r}")
        unknown = sorted(values.keys() - asdict(cls()).keys())
        if unknown:
            raise ValueError(f"crop policy: unknown fields {unknown}, expected some of {sorted(asdict(cls()))}")
        return cls(**values)


def crop_boxes(
    policy: CropPolicy, paths: Sequence[str], sizes_B2: npt.ArrayLike, seeds_B: npt.ArrayLike
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Draw one window for each view.

    Args:
        policy: how to draw.
        paths: B relative paths, the images' names.
        sizes_B2: integers, (height, width) in pixels, at least 1.
        seeds_B: integers, 0 to 2**63 - 1.

    Returns:
        boxes_B4 int32 (top, left, height, width) in pixels, and flips_B bool.

    Raises:
        ValueError: lengths that differ, a size under 1, a negative seed.
    """
    sizes_B2, seeds_B = _checked(paths, sizes_B2, seeds_B)
    keys_B2 = _keys(paths)
    boxes_B4 = _central_boxes(policy, sizes_B2)
    open_R = np.arange(len(paths))  # the views that have no window yet
    for attempt in range(ATTEMPTS):
        boxes_R4, fits_R = _attempt(
            policy, sizes_B2[open_R], _words(keys_B2[open_R], seeds_B[open_R], attempt, _WINDOW)
        )
        boxes_B4[open_R[fits_R]] = boxes_R4[fits_R]
        open_R = open_R[~fits_R]
    flips_B = uniform(_words(keys_B2, seeds_B, 0, _FLIP)[:, 0]) < policy.flip_probability
    return boxes_B4.astype(np.int32), flips_B


def _checked(
    paths: Sequence[str], sizes_B2: npt.ArrayLike, seeds_B: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    sizes, seeds = np.asarray(sizes_B2), np.asarray(seeds_B)
    count = len(paths)
    if sizes.shape != (count, 2) or seeds.shape != (count,):
        raise ValueError(
            f"crop_boxes: found sizes {sizes.shape} and seeds {seeds.shape}, expected {(count, 2)} and {(count,)}"
        )
    if count and not (sizes.dtype.kind in "iu" and seeds.dtype.kind in "iu"):
        raise ValueError(f"crop_boxes: found sizes {sizes.dtype} and seeds {seeds.dtype}, expected integers")
    if np.any(sizes < 1):
        bad = int(np.flatnonzero((sizes < 1).any(axis=1))[0])
        raise ValueError(f"size of {paths[bad]}: found {sizes[bad].tolist()}, expected height and width >= 1")
    if np.any(seeds < 0):
        raise ValueError(f"seeds: found {int(seeds.min())}, expected 0 or more")
    return sizes.astype(np.int64), seeds.astype(np.int64)


def _keys(paths: Sequence[str]) -> npt.NDArray[np.uint32]:
    """The generator's key of each path: 64 bits of blake2b, each unique path hashed once."""
    positions: dict[str, int] = {}
    inverse_B = [positions.setdefault(path, len(positions)) for path in paths]
    hashes = b"".join(
        hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest() for path in positions
    )
    return np.frombuffer(hashes, "<u4").astype(np.uint32).reshape(-1, 2)[np.asarray(inverse_B, np.int64)]


def _words(
    keys_B2: npt.NDArray[np.uint32], seeds_B: npt.NDArray[np.int64], attempt: int, purpose: int
) -> npt.NDArray[np.uint32]:
    counters_B4 = np.empty((len(seeds_B), 4), np.uint32)
    counters_B4[:, 0] = seeds_B & 0xFFFFFFFF
    counters_B4[:, 1] = seeds_B >> 32
    counters_B4[:, 2] = attempt
    counters_B4[:, 3] = purpose
    return philox4x32(counters_B4, keys_B2)


def _attempt(
    policy: CropPolicy, sizes_B2: npt.NDArray[np.int64], words_B4: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """One draw of a window for each view, and whether it fits its image."""
    low, high = policy.scale
    area_B = sizes_B2.prod(axis=1, dtype=np.float64) * (low + (high - low) * uniform(words_B4[:, 0]))
    log_low, log_high = (math.log(bound) for bound in policy.ratio)
    ratio_B = np.exp(log_low + (log_high - log_low) * uniform(words_B4[:, 1]))
    extents_B2 = np.rint(np.sqrt(np.stack([area_B / ratio_B, area_B * ratio_B], axis=1))).astype(np.int64)
    fits_B = ((extents_B2 > 0) & (extents_B2 <= sizes_B2)).all(axis=1)
    room_B2 = np.maximum(sizes_B2 - extents_B2 + 1, 1).astype(np.uint64)
    corners_B2 = (words_B4[:, 2:].astype(np.uint64) * room_B2) >> np.uint64(32)
    return np.concatenate([corners_B2.astype(np.int64), extents_B2], axis=1), fits_B


def _central_boxes(policy: CropPolicy, sizes_B2: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The central window as large as the ratio's bounds allow: what is left when no draw fits."""
    low, high = policy.ratio
    heights_B, widths_B = sizes_B2[:, 0], sizes_B2[:, 1]
    extents_B2 = np.stack([np.rint(widths_B / low), np.rint(heights_B * high)], axis=1)
    extents_B2 = np.clip(extents_B2, 1, sizes_B2).astype(np.int64)
    return np.concatenate([(sizes_B2 - extents_B2) // 2, extents_B2], axis=1)
