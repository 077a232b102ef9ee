"""A whole shard file back to rows: checked against its record, and proved to be what the writer makes of them.

A copy of the rows alone is enough then, to have the file again. Cost: reads the file once; a file of memory.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.errors import CacheError, DamagedFile, MissingBlocks
from fdbpl.cache_layout.sealed_part import ShardFile
from fdbpl.cache_layout.shard import ShardEncoder, plane_stride


def checked_rows(store: Path, shard: ShardFile) -> npt.NDArray[Any]:
    """The rows of a shard file [images, seeds, *row_shape], whose digest is as recorded.

    Raises:
        MissingBlocks, DamagedFile: the file is not there, or not as recorded.
        CacheError: its bytes are not those that the writer makes of its rows.
    """
    try:
        content = np.fromfile(store / shard.name, np.uint8)
    except FileNotFoundError:
        raise MissingBlocks(str(store), [f"{shard.name}: missing"]) from None
    if problem := shard.problem(len(content), hashlib.sha256(content.data).hexdigest()):
        raise DamagedFile(str(store), [problem])
    rows_NS = _rows(content, shard)
    if rows_NS is None or not _is_encoding(content, rows_NS, shard):
        raise CacheError(
            f"{store / shard.name}: found a file that another program wrote, expected one of fdbpl, which can be made "
            "again from its rows: copy the store as it is"
        )
    return rows_NS


def _rows(content: npt.NDArray[np.uint8], shard: ShardFile) -> npt.NDArray[Any] | None:
    """The rows where our writer puts them; None in a file that is too short for that."""
    spec, block = shard.spec, shard.block
    plane_bytes = shard.grid.images_per_block * spec.row_bytes
    stride = plane_stride(plane_bytes, spec.row_bytes)
    if len(content) < len(block.seeds) * stride:
        return None
    planes = content[: len(block.seeds) * stride].reshape(len(block.seeds), stride)[:, :plane_bytes]
    rows_SN = planes.view(spec.numpy_dtype).reshape(len(block.seeds), shard.grid.images_per_block, *spec.row_shape)
    return np.moveaxis(rows_SN[:, : len(block.images)], 0, 1)


def _is_encoding(content: npt.NDArray[np.uint8], rows_NS: npt.NDArray[Any], shard: ShardFile) -> bool:
    """Whether the writer would make these bytes of the rows."""
    position = 0
    for piece in ShardEncoder(rows_NS, shard.spec, shard.grid):
        if not np.array_equal(content[position : position + len(piece)], np.frombuffer(piece, np.uint8)):
            return False
        position += len(piece)
    return position == len(content)
