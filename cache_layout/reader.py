"""Reading rows of a store through memory maps.

A reader gives out copies, never views of the maps. Each array is mapped at its first read; the maps are
dropped on closing and on pickling (the other process opens the store by its path and checks that it is the
same), and go on working after a fork. Readers of one store share the system's page cache. Cost of a read:
about that of a gather from one array in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest, differences
from fdbpl.cache_layout.mapped_array import MappedArray
from fdbpl.cache_layout.read_arguments import check_out, check_range, index_vector
from fdbpl.cache_layout.readable import Readable
from fdbpl.cache_layout.store import open_store


def open_reader(
    path: str | Path,
    *,
    expect: Manifest | Mapping[str, Any] | None = None,
    allow_unsealed: bool = False,
    campaigns: Sequence[str] | None = None,
    check_planes: bool = False,
) -> Reader:
    """Open a store for reading.

    Args:
        path: of the store.
        expect: manifest fields that must be as stated; others are not looked at.
        allow_unsealed: read what is written, though campaigns are not sealed.
        campaigns: those that must be sealed, all where None. The arrays of another campaign that is not
            sealed are refused when they are read. Of a campaign that is being grown, what was sealed before
            is read.
        check_planes: compare each plane's checksum with the recorded one before its first row is given out.
            Costs about a second for each 5 GB that are touched, once for each reader, and reads whole planes
            from the disk where a row was asked for.

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
    readable = Readable(store, campaigns, allow_unsealed=allow_unsealed)
    readable.require_sealed(readable.campaigns)
    return Reader(readable, check_planes=check_planes)


class Reader:
    """An open store for reading; made by `open_reader`. Picklable, and safe over fork and spawn.

    How far each campaign reaches is read once, on opening: what is added later is seen by the next reader.
    """

    def __init__(self, readable: Readable, *, check_planes: bool) -> None:
        self._readable, self._store, self._check_planes = readable, readable.store, check_planes
        self._mapped: dict[str, MappedArray] = {}
        self._is_closed = False

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def manifest(self) -> Manifest:
        return self._store.manifest

    @cached_property
    def images(self) -> ImageIndex:
        """The index of the images that all of the campaigns asked for have."""
        return self._readable.images()

    @property
    def num_images(self) -> int:
        """N: images that all of the campaigns asked for have."""
        return self._readable.grid.num_images

    @property
    def num_seeds(self) -> int:
        """S: seeds that all of the campaigns asked for have."""
        return self._readable.grid.num_seeds

    @property
    def arrays(self) -> dict[str, ArraySpec]:
        """All arrays by name."""
        return dict(self._readable.specs)

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
        """(N, S, *row_shape) of an array, as far as it may be read."""
        spec, grid = self._readable.spec(array), self._readable.grid_of(array)
        return (grid.num_images, grid.num_seeds, *spec.row_shape)

    def dtype(self, array: str) -> np.dtype[Any]:
        """The dtype of an array."""
        return self._readable.spec(array).numpy_dtype

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
        mapped = self._mapped.get(array) or self._map(array)
        images_B, seeds_B = index_vector(images_B, "images_B"), index_vector(seeds_B, "seeds_B")
        count = len(images_B)
        if len(seeds_B) != count:
            raise ValueError(f"read: found {count} images and {len(seeds_B)} seeds, expected one each")
        spec = mapped.spec
        if out is None:
            out = np.empty((count, *spec.row_shape), spec.numpy_dtype)
        else:
            check_out(out, spec, count)
        try:
            mapped.gather(images_B, seeds_B, out)
        except IndexError:
            self._check_range(mapped, images_B, seeds_B)
            raise
        return out

    def read_plane(self, array: str, seed: int, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Copy the rows of all images under one seed, at the speed of copying memory; reads ahead where it is cold.

        Args:
            array: name of the array.
            seed: 0 to S-1.
            out: [N, *row_shape] of the array's dtype, C-contiguous, that the rows are written to (of a pinned
                tensor, its `numpy()`).

        Returns:
            [N, *row_shape], `out` where it was given.

        Raises:
            As `read`.
        """
        mapped = self._map(array)
        self._check_seed(mapped, seed)
        spec = mapped.spec
        if out is None:
            out = np.empty((mapped.grid.num_images, *spec.row_shape), spec.numpy_dtype)
        else:
            check_out(out, spec, mapped.grid.num_images)
        mapped.read_plane(seed, out)
        return out

    def prefetch(self, array: str, seed: int) -> None:
        """Ask the kernel to read all rows of one seed in the background; returns at once.

        What an epoch of one seed reads, asked for while the epoch before it runs. Costs milliseconds.
        """
        mapped = self._map(array)
        self._check_seed(mapped, seed)
        mapped.prefetch(seed)

    def prefetch_rows(self, array: str, images_B: npt.ArrayLike, seeds_B: npt.ArrayLike) -> None:
        """Ask the kernel to read the rows of B views in the background: the next batch, where seeds are mixed.

        Worth it where the files are not in memory (a tenth of the time of reading them row by row). Costs a call
        for each row, more than reading it where it is in memory. Errors as of `read`.
        """
        mapped = self._map(array)
        images_B, seeds_B = index_vector(images_B, "images_B"), index_vector(seeds_B, "seeds_B")
        self._check_range(mapped, images_B, seeds_B)
        mapped.prefetch_rows(images_B, seeds_B)

    def require_sealed(self, campaigns: Sequence[str]) -> None:
        """UnsealedStore unless all of these campaigns were sealed when the store was opened."""
        self._readable.require_sealed(campaigns)

    def close(self) -> None:
        """Drop the maps; reading afterwards is a ValueError."""
        self._mapped = {}
        self._is_closed = True

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Reader, check_planes=self._check_planes), (self._readable,)

    def __repr__(self) -> str:
        return f"Reader({str(self.path)!r}, {self.num_images} images x {self.num_seeds} seeds)"

    def _map(self, array: str) -> MappedArray:
        if self._is_closed:
            raise ValueError(f"the reader of {self.path} is closed: open another one")
        if array not in self._mapped:
            spec, grid = self._readable.spec(array), self._readable.grid_of(array)
            records = self._readable.records(array)
            self._mapped[array] = MappedArray(self.path, spec, grid, records, check_planes=self._check_planes)
        return self._mapped[array]

    def _check_range(self, mapped: MappedArray, images: npt.ArrayLike, seeds: npt.ArrayLike) -> None:
        check_range(images, mapped.grid.num_images, "image", self.path)
        check_range(seeds, mapped.grid.num_seeds, "seed", self.path)

    def _check_seed(self, mapped: MappedArray, seed: int) -> None:
        check_range([seed], mapped.grid.num_seeds, "seed", self.path)
