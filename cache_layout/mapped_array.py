"""One array of a store, mapped: rows of any mix of its shard files gathered in one call.

Every file has a slot of one reserved range; a table holds where each plane lies, read from the files' own
indices. A file is trusted only with the size that was recorded and an index whose checksum fits; planes
that are not there are refused, never filled. One view of the range with the row's size and stride 1 then
reads any row by its position. Cost: an open, a map and one small read for each file, once; then a copy of
the rows.

Axis letters: B views of a batch, G blocks of images, S seeds, P planes of a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.build import check_metadata
from fdbpl.cache_layout.campaigns import BlockRecord
from fdbpl.cache_layout.errors import DamagedFile, MissingBlocks
from fdbpl.cache_layout.mapping import MappedRange, round_to_pages
from fdbpl.cache_layout.shard import decode_index, index_bytes

_ABSENT = -(2**62)  # stays negative whatever is added to it


class MappedArray:
    """The mapped files of one array; files without a record are absent.

    Raises:
        MissingBlocks: recorded files that are not there.
        DamagedFile: files of another size, or with an index that is not right.
        CacheError: array metadata of another format.
        OSError: a limit on address space or maps.
    """

    def __init__(self, store: Path, spec: ArraySpec, grid: BlockGrid, records: Mapping[str, BlockRecord]) -> None:
        check_metadata(store, spec, grid)
        self._store, self._spec, self._grid = store, spec, grid
        self._dtype, self._row_bytes = spec.numpy_dtype, spec.row_bytes
        self._plane_bytes = grid.images_per_block * self._row_bytes
        sizes = {block: record[spec.name].size for block, record in records.items()}
        self._slot_bytes = round_to_pages(max(sizes.values(), default=1))
        self._range = MappedRange(self._slot_bytes * grid.num_blocks)
        self._positions_GS = np.full((grid.num_image_blocks, grid.num_seeds), _ABSENT, np.int64)
        self._map_files(sizes)
        self._range.advise_random()
        self._is_whole = bool((self._positions_GS >= 0).all())
        # The row of image n lies at n * row_bytes plus a number that its plane alone decides.
        shifts_G = np.arange(grid.num_image_blocks) * self._plane_bytes
        self._origins: npt.NDArray[np.int64] = (self._positions_GS - shifts_G[:, None]).reshape(-1)
        memory = self._range.bytes()
        self._row_dtype = np.dtype(f"V{self._row_bytes}")
        self._rows: npt.NDArray[Any] = np.ndarray(
            (len(memory) - self._row_bytes + 1,), self._row_dtype, memory, strides=(1,)
        )

    def gather(
        self, images_B: npt.NDArray[np.int64], seeds_B: npt.NDArray[np.int64], out: npt.NDArray[Any] | None
    ) -> npt.NDArray[Any]:
        """Copy rows into `out`, or into a new array [B, *row_shape]; the views must be inside the store."""
        planes_B = images_B // self._grid.images_per_block
        planes_B *= self._grid.num_seeds
        planes_B += seeds_B
        starts_B = self._origins[planes_B]
        starts_B += images_B * self._row_bytes
        if not self._is_whole and (starts_B < 0).any():
            self._refuse(images_B[starts_B < 0], seeds_B[starts_B < 0])
        rows_B = self._rows[starts_B]
        if out is None:
            return rows_B.view(self._dtype).reshape(len(images_B), *self._spec.row_shape)
        out.reshape(-1).view(self._row_dtype)[...] = rows_B
        return out

    def prefetch(self, seed: int) -> None:
        """Ask the kernel to read the planes of one seed that are there."""
        for start in self._positions_GS[:, seed]:
            if start >= 0:
                self._range.will_need(int(start), self._plane_bytes)

    def _map_files(self, sizes: Mapping[str, int]) -> None:
        missing, problems = [], []
        for number, block in enumerate(self._grid.blocks()):
            if block.id not in sizes:
                continue
            name = self._spec.file_name(block)
            try:
                self._map_file(number, block, self._store / name, sizes[block.id])
            except FileNotFoundError:
                missing.append(f"{name}: the file or a plane in it is missing")
            except ValueError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise DamagedFile(str(self._store), problems + missing)
        if missing:
            raise MissingBlocks(str(self._store), missing)

    def _map_file(self, number: int, block: Block, path: Path, size: int) -> None:
        start = number * self._slot_bytes
        with path.open("rb", buffering=0) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size or size < index_bytes(self._grid):
                raise ValueError(f"found {found} bytes, expected {size}")
            tail = os.pread(file.fileno(), index_bytes(self._grid), size - index_bytes(self._grid))
            positions_P = decode_index(tail, size, self._plane_bytes)[: len(block.seeds)]
            if (positions_P < 0).any():
                raise FileNotFoundError(f"{path} lacks a plane")
            self._range.map_file(start, path, file.fileno(), size)
        self._positions_GS[block.image_block, block.seeds.start : block.seeds.stop] = positions_P + start

    def _refuse(self, images: npt.NDArray[np.int64], seeds: npt.NDArray[np.int64]) -> None:
        grid = self._grid
        blocks = sorted(
            {
                (int(image) // grid.images_per_block, int(seed) // grid.seeds_per_block)
                for image, seed in zip(images, seeds, strict=True)
            }
        )
        names = [self._spec.file_name(grid.block(*block)) for block in blocks]
        raise MissingBlocks(str(self._store), [f"{name}: not written yet" for name in names])
