"""The shard files of one array, mapped side by side into one reserved range of addresses.

Every file has a slot of the range and is mapped when one of its planes is first asked for. A file is trusted
only with the size that was recorded and an index whose checksum fits; planes that are not there are refused,
never filled. Slots and (in our files) planes begin at multiples of the row's size, so that the range is one
array of rows. Files of another program, or of format version 1, may lie off that raster: positions then count
in bytes in place of rows. Slots begin at multiples of a huge page, which the kernel then may map as one.

No more than `limit` files stay mapped: beyond that the one mapped first makes room. Cost: an open, a map and
one small read for each file that is touched, once.

Axis letters: G blocks of images, J blocks of seeds, S seeds, P planes of a file.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.build import check_metadata
from fdbpl.cache_layout.errors import DamagedFile, MissingBlocks
from fdbpl.cache_layout.mapping import HUGE_PAGE_BYTES, PAGE_BYTES, MappedRange, reserve_files
from fdbpl.cache_layout.records import NO_FILE, RecordTable
from fdbpl.cache_layout.shard import CRC_BYTES, crc32c, decode_index, index_bytes, plane_stride

_ABSENT = -(2**62)  # stays negative whatever is added to it
_MOST_ADDRESSES = 1 << 44  # an eighth of what a process has


class ShardMap:
    """Where each plane of an array lies in memory, for those that were asked for by `have`.

    Plane number = image block * S + seed. `starts[plane]` is negative until the plane may be read; then row r of
    the array's first axis is at `starts[plane] + r` in `rows` (`+ r * row_bytes` where `unit` is 1).

    The short way, without a lock: the view (image, seed) is at `image_starts[image] + seed_starts[seed]`, where
    that is not negative. `seed_starts` has 2 S entries, of which one is not negative only when all planes of the
    seed may be read for good, and those from S on never: they are what negative numbers find.

    Whoever reads a plane in the other way, or calls a method, holds `lock`.

    Args:
        check_planes: compute the crc32c of every plane before it may be read.

    Raises:
        CacheError: array metadata of another format.
        OSError: a limit on address space.
    """

    def __init__(
        self, store: Path, spec: ArraySpec, grid: BlockGrid, records: RecordTable, *, check_planes: bool
    ) -> None:
        check_metadata(store, spec, grid)
        self._store, self._spec, self._grid = store, spec, grid
        self._size_GJ, self._crc_GJP = records.column(spec.name)
        self._check_planes = check_planes
        self._plane_bytes = grid.images_per_block * spec.row_bytes
        self._slot_bytes = _slot_bytes(int(self._size_GJ.max()), spec.row_bytes, grid.num_blocks)
        self._range = MappedRange(self._slot_bytes * grid.num_blocks)
        self._mapped: dict[tuple[int, int], None] = {}  # in the order of mapping
        self.limit = reserve_files(self, grid.num_blocks)
        self.lock = threading.RLock()
        self.positions_GS = np.full((grid.num_image_blocks, grid.num_seeds), _ABSENT, np.int64)
        self.starts = np.full(grid.num_image_blocks * grid.num_seeds, _ABSENT, np.int64)
        self.unit = spec.row_bytes
        self.rows = self._rows_at_units()
        self._is_regular = True  # whether all files that were mapped have their planes where ours have
        self._seeds_S = self._regular_seed_starts()
        self.seed_starts = np.full(grid.num_seeds, _ABSENT, np.int64)

    @cached_property
    def image_starts(self) -> npt.NDArray[np.int64]:
        """Where the rows of each image begin, of the first seed, in files whose planes lie as ours do."""
        rows_N = self._grid.rows(np.arange(self._grid.num_images))
        blocks_N, inside_N = np.divmod(rows_N, self._grid.images_per_block)
        slots_N = blocks_N * self._grid.num_seed_blocks
        starts_N: npt.NDArray[np.int64] = slots_N * (self._slot_bytes // self._spec.row_bytes) + inside_N
        return starts_N

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """The range's bytes; only those of mapped planes may be read."""
        return self._range.bytes()

    def have(self, planes: Iterable[int]) -> None:
        """Let these planes be read, of at most `limit` files; others may have to go for them.

        Raises:
            MissingBlocks: planes that were not written, or whose files are gone.
            DamagedFile: files of another size, or with an index or a plane that is not right.
            OSError: a limit on maps.
        """
        wanted = [divmod(plane, self._grid.num_seeds) for plane in planes]
        places = [(block, seed) for block, seed in wanted if self.starts[block * self._grid.num_seeds + seed] < 0]
        # Also those that may be read already are named here: they must not make room for the others.
        self._have_files({(block, seed // self._grid.seeds_per_block) for block, seed in wanted})
        for image_block, seed in places:
            if self._check_planes:
                self._check_plane(image_block, seed)
            offset = self.positions_GS[image_block, seed] - image_block * self._plane_bytes
            self.starts[image_block * self._grid.num_seeds + seed] = offset // self.unit
        if places and self._is_regular and self._grid.num_blocks <= self.limit:
            ready_S = (self.starts.reshape(self.positions_GS.shape) >= 0).all(axis=0)
            self.seed_starts[:] = np.where(ready_S, self._seeds_S, _ABSENT)

    def is_written(self, block: Block) -> bool:
        """Whether a block's file has a record."""
        return bool(self._size_GJ[block.image_block, block.seed_block] != NO_FILE)

    def have_files(self, blocks: Iterable[Block]) -> None:
        """Map the files of blocks, at most `limit`, without looking at their planes. Errors as of `have`."""
        self._have_files({(block.image_block, block.seed_block) for block in blocks})

    def will_need(self, starts: npt.NDArray[np.int64], num_bytes: int) -> None:
        """Ask the kernel to read so many bytes from each of these positions in mapped files, in the background."""
        self._range.will_need(starts, num_bytes)

    def _have_files(self, blocks: set[tuple[int, int]]) -> None:
        """Map files, all named that cannot be; the ones mapped first make room where it is needed."""
        missing: list[str] = []
        problems: list[str] = []
        for place in sorted(blocks - self._mapped.keys()):
            while len(self._mapped) >= self.limit:
                self._unmap(next(old for old in self._mapped if old not in blocks))
            block = self._grid.block(*place)
            name = self._spec.file_name(block)
            try:
                self._map_file(block, self._store / name)
            except FileNotFoundError:
                written = self._size_GJ[place] != NO_FILE
                missing.append(f"{name}: {'the file or a plane in it is missing' if written else 'not written yet'}")
            except ValueError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise DamagedFile(str(self._store), problems + missing)
        if missing:
            raise MissingBlocks(str(self._store), missing)

    def _map_file(self, block: Block, path: Path) -> None:
        size = int(self._size_GJ[block.image_block, block.seed_block])
        if size == NO_FILE:
            raise FileNotFoundError(path)
        start = self._slot(block.image_block, block.seed_block)
        with path.open("rb", buffering=0) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size or size < index_bytes(self._grid):
                raise ValueError(f"found {found} bytes, expected {size}")
            tail = os.pread(file.fileno(), index_bytes(self._grid), size - index_bytes(self._grid))
            positions_P = decode_index(tail, size, self._plane_bytes)[: len(block.seeds)]
            if (positions_P < 0).any():
                raise FileNotFoundError(f"{path} lacks a plane")
            self._range.map_file(start, path, file.fileno(), size)
        if self.unit != 1 and (positions_P % self.unit).any():
            self._leave_raster()
        stride = plane_stride(self._plane_bytes, self._spec.row_bytes)
        if (positions_P != np.arange(len(positions_P)) * stride).any():
            self._is_regular = False
            self.seed_starts[:] = _ABSENT
        self.positions_GS[block.image_block, block.seeds.start : block.seeds.stop] = positions_P + start
        self._mapped[block.image_block, block.seed_block] = None

    def _unmap(self, place: tuple[int, int]) -> None:
        del self._mapped[place]
        block = self._grid.block(*place)
        first = block.image_block * self._grid.num_seeds
        self.starts[first + block.seeds.start : first + block.seeds.stop] = _ABSENT
        self.positions_GS[block.image_block, block.seeds.start : block.seeds.stop] = _ABSENT
        self._range.unmap(self._slot(*place), int(self._size_GJ[place]))

    def _check_plane(self, image_block: int, seed: int) -> None:
        """DamagedFile unless a plane has the crc32c that was recorded (in format 1: the one beside it)."""
        start = int(self.positions_GS[image_block, seed])
        stop = start + self._plane_bytes
        found = crc32c(self.memory[start:stop])
        seed_block, inside = divmod(seed, self._grid.seeds_per_block)
        if self._crc_GJP.shape[2]:
            expected = int(self._crc_GJP[image_block, seed_block, inside]).to_bytes(CRC_BYTES, "little")
        else:
            expected = self.memory[stop : stop + CRC_BYTES].tobytes()
        if found != expected:
            block = self._grid.block(image_block, seed_block)
            raise DamagedFile(
                str(self._store),
                [
                    f"{self._spec.file_name(block)}: found crc32c {found.hex()} in the plane of seed {seed} (images "
                    f"{block.images.start} to {block.images.stop - 1}), expected {expected.hex()}"
                ],
            )

    def _leave_raster(self) -> None:
        self.starts[self.starts >= 0] *= self.unit
        self.unit = 1
        self.rows = self._rows_at_units()

    def _rows_at_units(self) -> npt.NDArray[Any]:
        """The range as rows that begin at every multiple of `unit` bytes."""
        memory = self._range.bytes()
        count = (len(memory) - self._spec.row_bytes) // self.unit + 1
        return np.ndarray((count,), np.dtype(f"V{self._spec.row_bytes}"), memory, strides=(self.unit,))

    def _regular_seed_starts(self) -> npt.NDArray[np.int64]:
        """How far the planes of each seed lie behind those of the first one, in rows."""
        blocks_S, inside_S = np.divmod(np.arange(self._grid.num_seeds), self._grid.seeds_per_block)
        stride = plane_stride(self._plane_bytes, self._spec.row_bytes)
        starts_S: npt.NDArray[np.int64] = (blocks_S * self._slot_bytes + inside_S * stride) // self._spec.row_bytes
        return starts_S

    def _slot(self, image_block: int, seed_block: int) -> int:
        return (image_block * self._grid.num_seed_blocks + seed_block) * self._slot_bytes


def _slot_bytes(largest_file: int, row_bytes: int, num_slots: int) -> int:
    """Room for a file: a multiple of its rows' size and of a huge page, or of a page where that would be too much."""
    for page in (HUGE_PAGE_BYTES, PAGE_BYTES):
        raster = math.lcm(page, row_bytes)
        slot = -(-max(1, largest_file) // raster) * raster
        if slot * num_slots <= _MOST_ADDRESSES:
            break
    return slot
