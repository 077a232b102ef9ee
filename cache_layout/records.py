"""What each file of a campaign must be: size, sha256, and the crc32c of every plane in it.

While a campaign is written, each finished block has a done-record, `.records/<campaign>/<block id>.json`.
Sealing compacts them into one table, three plain Zarr arrays: opening a sealed store reads those and looks
at no shard file, however many there are.

Axis letters: G image blocks, J seed blocks, A arrays of the campaign, P planes of a file, K blocks of a table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.files import write_file
from fdbpl.cache_layout.manifest import digest_of

NO_FILE = -1
Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Image blocks and seed blocks of K blocks, as `BlockGrid.places` has them."""
TABLE_ARRAYS = ("size", "sha256", "plane_crc32c")


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """A shard file: its size in bytes, the hex sha256 of its content, and each plane's crc32c as a number.

    `plane_crc32c` is empty in stores of format version 1, which did not record it.
    """

    size: int
    sha256: str
    plane_crc32c: tuple[int, ...]


BlockRecord = Mapping[str, ShardRecord]
"""The file of each array, by the array's name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordTable:
    """The records of a campaign's blocks, as arrays; a block without a record has size -1.

    `size_GJA` int64, `sha256_GJA32` uint8, `crc_GJAP` uint32 (P = 0 where planes were not recorded).
    """

    arrays: tuple[str, ...]
    size_GJA: npt.NDArray[np.int64]
    sha256_GJA32: npt.NDArray[np.uint8]
    crc_GJAP: npt.NDArray[np.uint32]

    @classmethod
    def empty(cls, grid: BlockGrid, arrays: Sequence[str], num_planes: int | None = None) -> RecordTable:
        shape = (grid.num_image_blocks, grid.num_seed_blocks, len(arrays))
        planes = grid.seeds_per_block if num_planes is None else num_planes
        return cls(
            arrays=tuple(arrays),
            size_GJA=np.full(shape, NO_FILE, np.int64),
            sha256_GJA32=np.zeros((*shape, 32), np.uint8),
            crc_GJAP=np.zeros((*shape, planes), np.uint32),
        )

    def __len__(self) -> int:
        """Number of blocks with a record."""
        return int((self.size_GJA[..., 0] != NO_FILE).sum())

    def __contains__(self, block: Block) -> bool:
        return bool(self.size_GJA[block.image_block, block.seed_block, 0] != NO_FILE)

    def get(self, block: Block) -> dict[str, ShardRecord] | None:
        """The records of a block's files by array, None where it has none."""
        if block not in self:
            return None
        at = block.image_block, block.seed_block
        crcs_AP = self.crc_GJAP[at][:, : len(block.seeds)]
        return {
            name: ShardRecord(
                size=int(self.size_GJA[at][number]),
                sha256=self.sha256_GJA32[at][number].tobytes().hex(),
                plane_crc32c=tuple(crcs_AP[number].tolist()),
            )
            for number, name in enumerate(self.arrays)
        }

    def put(self, block: Block, record: BlockRecord) -> None:
        """Enter a block; only while the table is being built."""
        at = block.image_block, block.seed_block
        for number, name in enumerate(self.arrays):
            file = record[name]
            self.size_GJA[at][number] = file.size
            self.sha256_GJA32[at][number] = np.frombuffer(bytes.fromhex(file.sha256), np.uint8)
            self.crc_GJAP[at][number, : len(file.plane_crc32c)] = file.plane_crc32c

    def drop(self, block: Block) -> None:
        """Take a block out; only while the table is being built."""
        self.size_GJA[block.image_block, block.seed_block] = NO_FILE

    def enter(self, places: Places, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Enter the K blocks of a sealed table."""
        self.size_GJA[places] = columns["size"]
        self.sha256_GJA32[places] = columns["sha256"]
        self.crc_GJAP[places] = columns["plane_crc32c"]

    def columns(self, places: Places) -> dict[str, npt.NDArray[Any]]:
        """What a sealed table holds of these blocks: [K, A], [K, A, 32] and [K, A, P]."""
        return {
            "size": self.size_GJA[places],
            "sha256": self.sha256_GJA32[places],
            "plane_crc32c": self.crc_GJAP[places],
        }

    def column(self, array: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        """Sizes [G, J] and planes' crc32c [G, J, P] of one array's files."""
        number = self.arrays.index(array)
        return self.size_GJA[:, :, number], self.crc_GJAP[:, :, number]


def columns_digest(columns: Mapping[str, npt.NDArray[Any]]) -> str:
    """`sha256:` and the digest of a sealed table: its three arrays' little-endian bytes, one after the other."""
    little = (columns[name].astype(columns[name].dtype.newbyteorder("<")).tobytes() for name in TABLE_ARRAYS)
    return digest_of(b"".join(little))


@dataclass(frozen=True, kw_only=True)
class PendingRecords:
    """The done-records of a campaign that is being written. `identity` says what they must name to count."""

    folder: Path
    identity: Mapping[str, str] = field(default_factory=dict)

    def save(self, block: Block, record: BlockRecord) -> None:
        """Write the done-record of a block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {array: asdict(file) for array, file in record.items()}
        fields = {**self.identity, "block": block.id, "files": files}
        write_file(self._path(block), json.dumps(fields, indent=2).encode())

    def load(self, block: Block, arrays: Iterable[str]) -> BlockRecord | None:
        """The done-record of a block; None where there is none, or one of another store, campaign or block."""
        try:
            fields = json.loads(self._path(block).read_bytes())
            record = {array: _shard_record(file) for array, file in fields["files"].items()}
            named = {key: fields[key] for key in (*self.identity, "block")}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        right = named == {**self.identity, "block": block.id} and record.keys() == set(arrays)
        return record if right and all(len(f.plane_crc32c) == len(block.seeds) for f in record.values()) else None

    def withdraw(self, block: Block) -> None:
        """Remove the done-record of a block, so that it is written again."""
        self._path(block).unlink(missing_ok=True)

    def present(self, blocks: Iterable[Block]) -> list[Block]:
        """Those of the blocks that have a done-record, by one listing of the folder."""
        try:
            names = {entry.name for entry in os.scandir(self.folder)}
        except FileNotFoundError:
            return []
        return [block for block in blocks if f"{block.id}.json" in names]

    def _path(self, block: Block) -> Path:
        return self.folder / f"{block.id}.json"


def _shard_record(fields: Mapping[str, Any]) -> ShardRecord:
    return ShardRecord(
        size=int(fields["size"]),
        sha256=str(fields["sha256"]),
        plane_crc32c=tuple(int(crc) for crc in fields["plane_crc32c"]),
    )
