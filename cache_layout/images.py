"""The image index: what is at image number n of a store.

It is the images' identity: relative path, size, digest of the file's bytes, label. Its own digest covers
all four, so two indices with one digest describe the same images in the same order. Arrays are read-only
copies. Beside them it names the files that were looked at and left out because they cannot be read, each with
the reason; the digest covers these too.

Axis letters: N images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.manifest import canonical_json, digest_of


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageIndex:
    """N images in order.

    Args:
        paths: relative POSIX paths, not empty, without `..`.
        sizes_N2: int32 (height, width) in pixels of the stored image (no EXIF rotation), at least 1.
        digests_N32: uint8, the sha256 of each file's bytes.
        labels_N: int32, the class number; -1 where there is none.
        excluded: (path, reason) of files that cannot be read, in the order in which they were met; none of them
            has a number.

    Raises:
        ValueError: neither an image nor an excluded one, shapes that do not fit, a size under 1, a label under -1, a
            path not relative, one that is both in the index and excluded.
    """

    paths: tuple[str, ...]
    sizes_N2: npt.NDArray[np.int32]
    digests_N32: npt.NDArray[np.uint8]
    labels_N: npt.NDArray[np.int32]
    excluded: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(self.paths))
        object.__setattr__(self, "excluded", tuple((path, reason) for path, reason in self.excluded))
        count = len(self.paths)
        for name, shape, dtype in (
            ("sizes_N2", (count, 2), np.int32),
            ("digests_N32", (count, 32), np.uint8),
            ("labels_N", (count,), np.int32),
        ):
            object.__setattr__(self, name, _frozen(getattr(self, name), name, shape, dtype))
        if not count and not self.excluded:
            raise ValueError("image index: found no image, expected at least one")
        for number, path in enumerate(self.paths):
            _check_path(path, number)
        for name, low in (("sizes_N2", 1), ("labels_N", -1)):
            _check_least(getattr(self, name), name, low, self.paths)
        for number, (path, _) in enumerate(self.excluded):
            _check_path(path, number, "excluded image")
        both = {path for path, _ in self.excluded}.intersection(self.paths) if self.excluded else ()
        if both:
            raise ValueError(f"image index: found {min(both)} both in it and excluded, expected it once")

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {path: number for number, path in enumerate(self.paths)}

    def numbers_of(self, paths: Iterable[str]) -> npt.NDArray[np.int64]:
        """Where images stand in the index, by path; -1 for those that it does not have."""
        return np.array([self._numbers.get(path, -1) for path in paths], np.int64)

    @cached_property
    def path_bytes(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """All paths in UTF-8, one after the other, and the N+1 offsets at which they start and end."""
        encoded = [path.encode("utf-8", "surrogateescape") for path in self.paths]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return np.frombuffer(b"".join(encoded), np.uint8), offsets

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the digest of paths, sizes, file digests and labels, in little-endian bytes, and of what is
        excluded; where that is nothing, it is as before there was such a thing."""
        path_bytes, offsets = self.path_bytes
        parts = (
            b"fdbpl images 2\n" if self.excluded else b"fdbpl images 1\n",
            offsets.astype("<i8").tobytes(),
            path_bytes.tobytes(),
            self.sizes_N2.astype("<i4").tobytes(),
            self.digests_N32.tobytes(),
            self.labels_N.astype("<i4").tobytes(),
            canonical_json(self.excluded).encode("utf-8", "surrogateescape") if self.excluded else b"",
        )
        return digest_of(b"".join(parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageIndex) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def decode_paths(path_bytes: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """The paths that `ImageIndex.path_bytes` encoded."""
    joined = path_bytes.tobytes()
    bounds = offsets.tolist()
    return tuple(joined[start:stop].decode("utf-8", "surrogateescape") for start, stop in pairwise(bounds))


def _frozen(
    value: npt.ArrayLike, name: str, shape: tuple[int, ...], dtype: type[np.generic]
) -> npt.NDArray[np.generic]:
    given = np.asarray(value)
    if given.shape != shape or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"{name}: found {given.dtype} {given.shape}, expected integers {shape}")
    copy = given.astype(dtype)
    if not np.array_equal(copy, given):
        raise ValueError(f"{name}: found values that {np.dtype(dtype)} cannot hold")
    copy.setflags(write=False)
    return copy


def _check_path(path: str, number: int, what: str = "image") -> None:
    # Plain string methods: making a path object of each takes longer than reading the whole index.
    if not path or path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError(f"{what} {number}: found the path {path!r}, expected a relative path without '..'")


def _check_least(values: npt.NDArray[np.int32], name: str, low: int, paths: tuple[str, ...]) -> None:
    below = values < low
    if below.any():
        number = int(np.argwhere(below)[0][0])
        found = values[number].tolist()
        raise ValueError(f"{name} of image {number} ({paths[number]}): found {found}, expected {low} or more")
