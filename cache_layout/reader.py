"""Reading rows of a store through memory maps.

A reader gives out copies, never views of the maps. Each array is mapped at its first read; the maps are
dropped on closing and on pickling (the other process opens the store by its path and checks that it is the
same), and go on working after a fork. Readers of one store share the system's page cache. Cost of a read:
about that of a gather from one array in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.errors import ManifestMismatch, UnknownArray, UnsealedStore, ViewOutOfRange
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest, differences
from fdbpl.cache_layout.mapped_array import MappedArray
from fdbpl.cache_layout.store import Store, open_store


def open_reader(
    path: str | Path,
    *,
    expect: Manifest | Mapping[str, Any] | None = None,
    allow_unsealed: bool = False,
    campaigns: Sequence[str] | None = None,
) -> Reader:
    """Open a store for reading.

    Args:
        path: of the store.
        expect: manifest fields that must be as stated; others are not looked at.
        allow_unsealed: read what is written, though campaigns are not sealed.
        campaigns: those that must be sealed, all where None. The arrays of another campaign that is not
            sealed are refused when they are read.

    Raises:
        CacheError: no store, another format version, a changed manifest.
        ManifestMismatch: with every field that is not as expected.
        UnsealedStore: with the campaigns that are not sealed and their missing blocks.
        UnknownArray: a campaign that the store does not have.
    """
    store = open_store(path)
    gaps = differences(store.manifest, expect) if expect is not None else []
    if gaps:
        raise ManifestMismatch(str(store.path), gaps)
    reader = Reader(store, allow_unsealed=allow_unsealed)
    if not allow_unsealed:
        reader.require_sealed(store.campaigns if campaigns is None else campaigns)
    return reader


class Reader:
    """An open store for reading; made by `open_reader`. Picklable, and safe over fork and spawn."""

    def __init__(self, store: Store, *, allow_unsealed: bool) -> None:
        self._store = store
        self._allow_unsealed = allow_unsealed
        campaigns = store.campaigns
        self._owners = {spec.name: name for name, specs in campaigns.items() for spec in specs}
        self._specs = {spec.name: spec for specs in campaigns.values() for spec in specs}
        self._mapped: dict[str, MappedArray] | None = {}

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def manifest(self) -> Manifest:
        return self._store.manifest

    @property
    def images(self) -> ImageIndex:
        return self._store.images

    @property
    def num_images(self) -> int:
        return self._store.grid.num_images

    @property
    def num_seeds(self) -> int:
        return self._store.grid.num_seeds

    @property
    def arrays(self) -> dict[str, ArraySpec]:
        """All arrays by name."""
        return dict(self._specs)

    @property
    def class_lists(self) -> tuple[str, ...]:
        return self._store.class_lists

    def class_list(self, name: str) -> ClassList:
        """A class list with its text embedding."""
        return self._store.class_list(name)

    def campaign_manifest(self, name: str) -> Mapping[str, Any]:
        """What a campaign's arrays were made with beyond `manifest`; UnknownArray where there is none of this name."""
        return self._store.campaign(name).manifest

    def shape(self, array: str) -> tuple[int, ...]:
        """(N, S, *row_shape) of an array."""
        return self._spec(array).shape(self._store.grid)

    def dtype(self, array: str) -> np.dtype[Any]:
        """The dtype of an array."""
        return self._spec(array).numpy_dtype

    def read(
        self,
        array: str,
        images_B: npt.ArrayLike,
        seeds_B: npt.ArrayLike,
        out: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Copy the rows of B views.

        Args:
            array: name of the array.
            images_B: integers, image numbers, 0 to N-1.
            seeds_B: integers, seeds, 0 to S-1.
            out: [B, *row_shape] of the array's dtype, C-contiguous, that the rows are written to.

        Returns:
            [B, *row_shape], `out` where it was given.

        Raises:
            ValueError: after `close`, views that are not two equally long vectors of integers, an `out` that
                does not fit.
            UnknownArray, ViewOutOfRange, UnsealedStore: no such rows in this store.
            MissingBlocks, DamagedFile: the rows' files are not as they were written.
        """
        mapped = self._map(array)
        images_B, seeds_B = _vector(images_B, "images_B"), _vector(seeds_B, "seeds_B")
        if len(images_B) != len(seeds_B):
            raise ValueError(f"read: found {len(images_B)} images and {len(seeds_B)} seeds, expected one each")
        _check_range(images_B, self.num_images, "image", self.path)
        _check_range(seeds_B, self.num_seeds, "seed", self.path)
        if out is not None:
            _check_out(out, self._specs[array], len(images_B))
        return mapped.gather(images_B, seeds_B, out)

    def prefetch(self, array: str, seed: int) -> None:
        """Ask the kernel to read all rows of one seed in the background; returns at once."""
        mapped = self._map(array)
        _check_range(np.asarray([seed], np.int64), self.num_seeds, "seed", self.path)
        mapped.prefetch(seed)

    def require_sealed(self, campaigns: Sequence[str] | Mapping[str, Any]) -> None:
        """UnsealedStore unless all of these campaigns are sealed."""
        missing = {
            name: [block.id for block in self._store.missing_blocks(name)]
            for name in campaigns
            if not self._store.campaign(name).is_sealed
        }
        if missing:
            raise UnsealedStore(str(self.path), missing)

    def close(self) -> None:
        """Drop the maps; reading afterwards is a ValueError."""
        self._mapped = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (str(self.path), self.manifest.fingerprint, self._allow_unsealed)

    def __repr__(self) -> str:
        return f"Reader({str(self.path)!r}, {self.num_images} images x {self.num_seeds} seeds)"

    def _spec(self, array: str) -> ArraySpec:
        if array not in self._specs:
            raise UnknownArray(str(self.path), "array", array, sorted(self._specs))
        return self._specs[array]

    def _map(self, array: str) -> MappedArray:
        if self._mapped is None:
            raise ValueError(f"the reader of {self.path} is closed: open another one")
        if array not in self._mapped:
            spec = self._spec(array)
            owner = self._owners[array]
            if not self._allow_unsealed:
                self.require_sealed([owner])
            self._mapped[array] = MappedArray(self.path, spec, self._store.grid, self._store.records(owner))
        return self._mapped[array]


def _reopen(path: str, fingerprint: str, allow_unsealed: bool) -> Reader:
    store = open_store(path)
    if store.manifest.fingerprint != fingerprint:
        gaps = differences({"fingerprint": store.manifest.fingerprint}, {"fingerprint": fingerprint})
        raise ManifestMismatch(path, gaps)
    return Reader(store, allow_unsealed=allow_unsealed)


def _vector(values: npt.ArrayLike, name: str) -> npt.NDArray[np.int64]:
    vector = np.asarray(values)
    if vector.ndim != 1 or (vector.size and vector.dtype.kind not in "iu"):
        raise ValueError(f"{name}: found {vector.dtype} {vector.shape}, expected a vector of integers")
    return vector.astype(np.int64, copy=False)


def _check_range(values: npt.NDArray[np.int64], count: int, kind: str, store: Path) -> None:
    # Seen as unsigned, a negative number is larger than any count: one pass finds both faults.
    if values.size and np.maximum.reduce(values.view(np.uint64)) >= count:
        position = int(np.flatnonzero((values < 0) | (values >= count))[0])
        raise ViewOutOfRange(
            f"{kind} {values[position]} at position {position}: the store at {store} has 0 to {count - 1}"
        )


def _check_out(out: npt.NDArray[Any], spec: ArraySpec, count: int) -> None:
    shape = (count, *spec.row_shape)
    fits = isinstance(out, np.ndarray) and out.shape == shape and out.dtype == spec.numpy_dtype
    if not fits or not out.flags.c_contiguous or not out.flags.writeable:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out: found {found}, expected a writable C-contiguous array, {spec.dtype} {shape}")
