"""The bytes of a shard file: whole planes, each with its crc32c, and the index that says where they are.

    plane of seed 0, crc32c, padding | plane of seed 1, crc32c, padding | ... | index, crc32c

A plane is [images_per_block, *row_shape], little-endian, filled up with the fill value where the block has
fewer images; the planes of seeds that the array does not have are left out and marked absent in the index.
Zeros after the crc32c let every plane begin at a multiple of the row's size, so that all rows of a file lie
on one raster and a batch is gathered at the speed of memory (less than one row for each plane; two rows where
a row is shorter than the checksum). The index holds (position, length) of each plane. All numbers are
little-endian, 8 bytes in the index, 4 for each crc32c. The bytes are a function of the rows alone. Cost: one
pass over the rows, one plane of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import google_crc32c
import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid

CRC_BYTES = 4
_ENTRY_BYTES = 16
_ABSENT = np.uint64(2**64 - 1)


class ShardEncoder:
    """The pieces of a shard file in order, and the planes' checksums once all were used."""

    def __init__(self, rows_NS: npt.NDArray[Any], spec: ArraySpec, grid: BlockGrid) -> None:
        self._rows_NS, self._spec, self._grid = rows_NS, spec, grid
        self.plane_crc32c: list[int] = []

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8] | bytes]:
        """Each piece must be used before the next is asked for: planes share one buffer."""
        index = np.full((self._grid.seeds_per_block, 2), _ABSENT, "<u8")
        plane = self._spec.empty_plane(self._grid)
        content = plane.reshape(-1).view(np.uint8)
        stride = plane_stride(content.nbytes, self._spec.row_bytes)
        padding = bytes(stride - content.nbytes - CRC_BYTES)
        for seed in range(self._rows_NS.shape[1]):
            plane[: len(self._rows_NS)] = self._rows_NS[:, seed]
            checksum = crc32c(content)
            self.plane_crc32c.append(int.from_bytes(checksum, "little"))
            yield content
            yield checksum + padding
            index[seed] = seed * stride, content.nbytes + CRC_BYTES
        yield index.tobytes()
        yield crc32c(index.tobytes())


def plane_stride(plane_bytes: int, row_bytes: int) -> int:
    """From the beginning of a plane to that of the next one: a multiple of the row's size."""
    return -(-(plane_bytes + CRC_BYTES) // row_bytes) * row_bytes


def index_bytes(grid: BlockGrid) -> int:
    """Size of the index at a shard's end, its crc32c included."""
    return grid.seeds_per_block * _ENTRY_BYTES + CRC_BYTES


def decode_index(tail: bytes, file_size: int, plane_bytes: int) -> npt.NDArray[np.int64]:
    """Positions of a shard's planes in the file, -1 where there is none.

    Args:
        tail: the last `index_bytes` of the file.
        file_size: in bytes.
        plane_bytes: of one plane, without its crc32c.

    Raises:
        ValueError: the checksum does not fit, or an entry that no plane can have.
    """
    entries, checksum = tail[:-CRC_BYTES], tail[-CRC_BYTES:]
    if crc32c(entries) != checksum:
        raise ValueError(f"the index has crc32c {crc32c(entries).hex()}, expected {checksum.hex()}")
    index = np.frombuffer(entries, "<u8").reshape(-1, 2)
    positions, lengths = index[:, 0], index[:, 1]
    present = positions != _ABSENT
    last = file_size - len(tail) - plane_bytes - CRC_BYTES
    if np.any(lengths[present] != plane_bytes + CRC_BYTES) or (present.any() and positions[present].max() > last):
        raise ValueError(f"the index has an entry that is not a plane of {plane_bytes} bytes and a crc32c")
    planes: npt.NDArray[np.int64] = np.where(present, positions, 0).astype(np.int64)
    planes[~present] = -1
    return planes


def crc32c(content: npt.NDArray[np.uint8] | bytes) -> bytes:
    """The crc32c of `content` as the four bytes that follow it in the file."""
    return int(google_crc32c.value(cast(bytes, content))).to_bytes(CRC_BYTES, "little")
