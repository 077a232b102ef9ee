"""One array of a store: its name, what a row is, and the Zarr metadata and file names that follow.

An array has shape [N, S, *row_shape] (in a store that has grown, with empty rows between the parts of its images,
see `blocks`). A shard file holds one block; inside it, a chunk is one plane: all
images of the block for one seed. Chunk files lie flat in the array's folder (`c.3.0.0`), so one flush makes
a name durable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.names import check_name

DTYPES = ("float16", "float32", "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")
RESERVED = frozenset({"images", "classes", "records"})
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_BYTES = {"name": "bytes"}
_CRC32C = {"name": "crc32c"}


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """An array of the store.

    Args:
        name: such as `teacher/embedding`; not under `images`, `classes` or `records`.
        row_shape: shape of one view's value; `()` for a number.
        dtype: one of `DTYPES`.
    """

    name: str
    row_shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        check_name(self.name, "array")
        object.__setattr__(self, "row_shape", tuple(self.row_shape))
        if self.name.split("/")[0] in RESERVED:
            raise ValueError(f"array name: found {self.name!r}, expected none of {sorted(RESERVED)} in front")
        if not all(isinstance(extent, int) and extent > 0 for extent in self.row_shape):
            raise ValueError(f"array {self.name}: found row_shape {self.row_shape}, expected positive integers")
        if self.dtype not in DTYPES:
            raise ValueError(f"array {self.name}: found dtype {self.dtype!r}, expected one of {DTYPES}")

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype in the file's byte order, little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @cached_property
    def row_bytes(self) -> int:
        return self.numpy_dtype.itemsize * int(np.prod(self.row_shape, dtype=np.int64))

    @property
    def is_float(self) -> bool:
        return self.numpy_dtype.kind == "f"

    @property
    def fill_value(self) -> float | int | bool:
        """What stands where nothing was written: NaN, False or 0."""
        return float("nan") if self.is_float else False if self.dtype == "bool" else 0

    def shape(self, grid: BlockGrid) -> tuple[int, ...]:
        """Of the Zarr array: [rows, S, *row_shape]."""
        return (grid.num_rows, grid.num_seeds, *self.row_shape)

    def shard_shape(self, grid: BlockGrid) -> tuple[int, ...]:
        return (grid.images_per_block, grid.seeds_per_block, *self.row_shape)

    def chunk_shape(self, grid: BlockGrid) -> tuple[int, ...]:
        return (grid.images_per_block, 1, *self.row_shape)

    def empty_plane(self, grid: BlockGrid) -> npt.NDArray[Any]:
        """One plane of fill values: [images_per_block, *row_shape]."""
        return np.full((grid.images_per_block, *self.row_shape), self.fill_value, self.numpy_dtype)

    def file_name(self, block: Block) -> str:
        """The shard file's path inside the store."""
        return f"{self.name}/c.{block.id}{'.0' * len(self.row_shape)}"

    def metadata(self, grid: BlockGrid) -> dict[str, Any]:
        """The fields of the array's `zarr.json` that decide how its files are read."""
        serializer = _LITTLE if self.numpy_dtype.itemsize > 1 else _BYTES
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape(grid)),
            "data_type": self.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": list(self.shard_shape(grid))},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": "NaN" if self.is_float else self.fill_value,
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": list(self.chunk_shape(grid)),
                        "codecs": [serializer, _CRC32C],
                        "index_codecs": [_LITTLE, _CRC32C],
                        "index_location": "end",
                    },
                }
            ],
        }

    def document(self, grid: BlockGrid) -> dict[str, Any]:
        """The whole of the array's `zarr.json`."""
        names = ["image", "seed", *[None] * len(self.row_shape)]
        return {**self.metadata(grid), "attributes": {}, "dimension_names": names}

    def to_json(self) -> dict[str, Any]:
        return {"row_shape": list(self.row_shape), "dtype": self.dtype}

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> ArraySpec:
        return cls(name=name, row_shape=tuple(fields["row_shape"]), dtype=fields["dtype"])
