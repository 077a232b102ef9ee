"""Plain arrays of a store: one chunk with a crc32c, no compressor; any Zarr reader can read them.

Tables that are written once and read whole lie in such arrays: the image index, text embeddings, records.
The files are a function of the values. An array in more chunks, as another program may write it, is read by
zarr-python.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.documents import METADATA, document_bytes, read_document
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.shard import CRC_BYTES, crc32c


def flat_files(values: npt.NDArray[Any]) -> dict[str, bytes]:
    """The files of an array by name: metadata, and the one chunk."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    content = little.tobytes()
    return {
        METADATA: document_bytes(_document(little.shape, little.dtype)),
        _chunk_name(little.ndim): content + crc32c(content),
    }


def put_flat(folder: Path, values: npt.NDArray[Any]) -> None:
    """Write an array that nobody sees yet; it is flushed with the tree around it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in flat_files(values).items():
        (folder / name).write_bytes(content)


def read_flat(folder: Path) -> npt.NDArray[Any]:
    """The values of an array, as a copy.

    Raises:
        ValueError: the array is missing or damaged; the message names the file and says what is wrong.
    """
    try:
        document = read_document(folder)
        dtype, shape = np.dtype(document["data_type"]).newbyteorder("<"), tuple(document["shape"])
        if document == _document(shape, dtype):
            return _read_chunk(folder / _chunk_name(len(shape)), shape, dtype)
    except (FileNotFoundError, CacheError, KeyError, TypeError) as error:
        raise ValueError(f"{folder.name}: {error}") from error
    return _read_with_zarr(folder)


def _read_chunk(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    data = path.read_bytes()
    expected = math.prod(shape) * dtype.itemsize + CRC_BYTES
    if len(data) != expected:
        raise ValueError(f"{path.parent.name}/{path.name}: found {len(data)} bytes, expected {expected}")
    content, checksum = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if crc32c(content) != checksum:
        raise ValueError(
            f"{path.parent.name}/{path.name}: found crc32c {crc32c(content).hex()}, expected {checksum.hex()}"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_with_zarr(folder: Path) -> npt.NDArray[Any]:
    import zarr  # slow to import, and only needed for arrays that another program wrote

    try:
        return np.asarray(zarr.open_array(str(folder), mode="r")[...])
    except Exception as error:  # of metadata that are damaged, zarr-python raises whatever comes of it
        raise ValueError(f"{folder.name}: cannot be read as a Zarr array: {error!r}") from error


def _document(shape: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    serializer = {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        # A chunk has no axis of length 0, also where the array has.
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, length) for length in shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 0.0 if dtype.kind == "f" else 0,
        "codecs": [serializer, {"name": "crc32c"}],
        "attributes": {},
    }


def _chunk_name(num_axes: int) -> str:
    return ".".join(["c", *["0"] * num_axes])
