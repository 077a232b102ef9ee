"""One array of a store, read: rows of any mix of its files gathered in one call, or a whole plane copied.

The files are mapped by `ShardMap` as they are touched; once all are, a batch costs a few small sums and one
`take` of rows, as fast as from one array in memory. Works after a fork, and from several threads.

Axis letters: B views of a batch, N images.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.records import RecordTable
from fdbpl.cache_layout.shard_map import ShardMap

# In memory this takes a tenth of the time, on a disk ten times as long.
PROBE_BYTES, PROBE_SECONDS = 128 << 10, 3e-4


class MappedArray:
    """An array for reading; arguments and errors of making one are those of `ShardMap`."""

    def __init__(
        self, store: Path, spec: ArraySpec, grid: BlockGrid, records: RecordTable, *, check_planes: bool
    ) -> None:
        self.spec, self.grid = spec, grid
        self._row_bytes, self._row_dtype = spec.row_bytes, np.dtype(f"V{spec.row_bytes}")
        self._files = ShardMap(store, spec, grid, records, check_planes=check_planes)

    def gather(self, images_B: npt.NDArray[np.int64], seeds_B: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
        """Copy rows into `out` [B, *row_shape].

        Raises:
            IndexError: a view outside the grid.
            CacheError: as `ShardMap.have`.
        """
        files = self._files
        # Few calls, each of which finds its code and data gone from the processor's cache after the last batch.
        starts_B = files.image_starts.take(images_B)
        starts_B += files.seed_starts.take(seeds_B)
        out_B = out.reshape(-1).view(self._row_dtype)
        if len(starts_B) and np.minimum.reduce(starts_B | images_B | seeds_B) >= 0:
            # Every position is inside; `clip` lets `take` write into the buffer without one of its own.
            files.rows.take(starts_B, 0, out_B, "clip")
        else:
            self._map_and_gather(images_B, seeds_B, out_B)

    def read_plane(self, seed: int, out: npt.NDArray[Any]) -> None:
        """Copy all images' rows of one seed into `out` [N, *row_shape], file after file. Errors as of `ShardMap.have`.

        Read-ahead costs a quarter of the time of copying what is in memory already, and the kernel tells only a
        file's owner whether it is; so it is felt at the first bytes of each file, and asked for where they are slow.
        """
        flat = out.reshape(-1).view(np.uint8)
        memory = self._files.memory
        is_asked = False
        for block in self.grid.blocks_of_seed(seed):
            first, stop = (number * self._row_bytes for number in (block.images.start, block.images.stop))
            with self._files.lock:
                self._files.have([block.image_block * self.grid.num_seeds + seed])
                start = int(self._files.positions_GS[block.image_block, seed])
                probe = min(PROBE_BYTES, stop - first)
                began = time.perf_counter()
                flat[first : first + probe] = memory[start : start + probe]
                if not is_asked and time.perf_counter() - began > PROBE_SECONDS:
                    self.prefetch(seed, block.image_block)
                    self._files.have([block.image_block * self.grid.num_seeds + seed])
                    is_asked = True
                flat[first + probe : stop] = memory[start + probe : start + stop - first]

    def prefetch(self, seed: int, first_block: int = 0) -> None:
        """Ask the kernel to read the planes of one seed that are there, from a block of images on."""
        plane_bytes = self.grid.images_per_block * self._row_bytes
        blocks = [block for block in self.grid.blocks_of_seed(seed)[first_block:] if self._files.is_written(block)]
        with self._files.lock:
            for start in range(0, len(blocks), self._files.limit):
                some = blocks[start : start + self._files.limit]
                self._files.have_files(some)
                for block in some:
                    self._files.will_need(self._files.positions_GS[[block.image_block], seed], plane_bytes)

    def prefetch_rows(self, images_B: npt.NDArray[np.int64], seeds_B: npt.NDArray[np.int64]) -> None:
        """Ask the kernel to read these rows; as many of them as lie in files that may be mapped at once."""
        blocks_B, inside_B = np.divmod(self.grid.rows(images_B), self.grid.images_per_block)
        places = np.unique(blocks_B * self.grid.num_seed_blocks + seeds_B // self.grid.seeds_per_block)
        with self._files.lock:
            numbers = [divmod(place, self.grid.num_seed_blocks) for place in places.tolist()[: self._files.limit]]
            self._files.have_files([self.grid.block(*number) for number in numbers])
            starts_B = self._files.positions_GS[blocks_B, seeds_B] + inside_B * self._row_bytes
            self._files.will_need(starts_B[starts_B >= 0], self._row_bytes)

    def _map_and_gather(
        self, images_B: npt.NDArray[np.int64], seeds_B: npt.NDArray[np.int64], out_B: npt.NDArray[Any]
    ) -> None:
        """As `gather`, where planes are not mapped yet, may be unmapped, or lie elsewhere than ours."""
        for values_B, count in ((images_B, self.grid.num_images), (seeds_B, self.grid.num_seeds)):
            if ((values_B < 0) | (values_B >= count)).any():
                raise IndexError
        rows_B = self.grid.rows(images_B)
        planes_B = rows_B // self.grid.images_per_block * self.grid.num_seeds + seeds_B
        with self._files.lock:
            self._map_and_copy(planes_B, rows_B, out_B)

    def _map_and_copy(
        self, planes_B: npt.NDArray[np.int64], rows_B: npt.NDArray[np.int64], out_B: npt.NDArray[Any]
    ) -> None:
        """Make the planes readable and copy; half of the views at a time where they have too many planes."""
        if self._files.starts.take(planes_B).min(initial=0) < 0:
            planes = np.unique(planes_B)
            if len(planes) > self._files.limit:
                middle = len(planes_B) // 2
                for half in (slice(None, middle), slice(middle, None)):
                    self._map_and_copy(planes_B[half], rows_B[half], out_B[half])
                return
            self._files.have(planes.tolist())
        starts_B = self._files.starts.take(planes_B) + rows_B * (self._row_bytes // self._files.unit)
        out_B[...] = self._files.rows[starts_B]
