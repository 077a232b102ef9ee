"""The parts of a store that are written once, through zarr-python: empty arrays, image index, class lists.

Every array has crc32c and no compressor, so a flipped bit is found on reading and any Zarr reader can read
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.chunk_key_encodings import ChunkKeyEncodingParams

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.errors import DamagedFile, UnknownArray
from fdbpl.cache_layout.images import ImageIndex, decode_paths

_SEPARATOR = ChunkKeyEncodingParams(name="default", separator=".")


def create_arrays(group: zarr.Group, specs: Iterable[ArraySpec], grid: BlockGrid) -> None:
    """Make the metadata of the arrays, with no shard yet."""
    for spec in specs:
        group.create_array(
            spec.name,
            shape=spec.shape(grid),
            dtype=spec.dtype,
            shards=spec.shard_shape(grid),
            chunks=spec.chunk_shape(grid),
            compressors=[Crc32cCodec()],
            fill_value=spec.fill_value,
            chunk_key_encoding=_SEPARATOR,
            config={"write_empty_chunks": True},
            dimension_names=["image", "seed", *[None] * len(spec.row_shape)],
        )


def write_images(group: zarr.Group, images: ImageIndex) -> None:
    """Write the image index under `images`."""
    path_bytes, path_offsets = images.path_bytes
    _write(group, "images/path_bytes", path_bytes)
    _write(group, "images/path_offsets", path_offsets)
    _write(group, "images/size", images.sizes_N2)
    _write(group, "images/digest", images.digests_N32)
    _write(group, "images/label", images.labels_N)


def read_images(store: Path, digest: str) -> ImageIndex:
    """Read the image index and check that it has `digest`."""
    try:
        group = zarr.open_group(str(store), path="images", mode="r")
        images = ImageIndex(
            paths=decode_paths(_read(group, "path_bytes"), _read(group, "path_offsets")),
            sizes_N2=_read(group, "size"),
            digests_N32=_read(group, "digest"),
            labels_N=_read(group, "label"),
        )
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise DamagedFile(str(store), [f"images: {error}"]) from error
    if images.digest != digest:
        raise DamagedFile(str(store), [f"images: found digest {images.digest}, expected {digest}"])
    return images


def write_class_list(group: zarr.Group, classes: ClassList) -> None:
    """Write a class list under `classes/<name>`."""
    attributes = {
        "class_names": list(classes.class_names),
        "templates": list(classes.templates),
        "digest": classes.digest,
        "embedding_digest": classes.embedding_digest,
    }
    folder = group.create_group(f"classes/{classes.name}", attributes={"fdbpl_classes": attributes})
    _write(folder, "text_embedding", classes.text_embedding_CD)


def class_list_names(store: Path) -> tuple[str, ...]:
    """The store's class lists, sorted."""
    return tuple(sorted(found.parent.name for found in (store / "classes").glob("*/zarr.json")))


def read_class_list(store: Path, name: str) -> ClassList:
    """Read a class list and check its two digests."""
    known = class_list_names(store)
    if name not in known:
        raise UnknownArray(str(store), "class list", name, known)
    group = zarr.open_group(str(store), path=f"classes/{name}", mode="r")
    fields: Any = group.attrs["fdbpl_classes"]
    try:
        classes = ClassList(
            name=name,
            class_names=tuple(fields["class_names"]),
            templates=tuple(fields["templates"]),
            text_embedding_CD=_read(group, "text_embedding"),
        )
    except (ValueError, KeyError) as error:
        raise DamagedFile(str(store), [f"classes/{name}: {error}"]) from error
    for kind in ("digest", "embedding_digest"):
        if getattr(classes, kind) != fields[kind]:
            found = getattr(classes, kind)
            raise DamagedFile(str(store), [f"classes/{name}: found {kind} {found}, expected {fields[kind]}"])
    return classes


def _write(group: zarr.Group, name: str, values: npt.NDArray[Any]) -> None:
    group.create_array(
        name,
        data=values,
        compressors=[Crc32cCodec()],
        fill_value=0,
        chunk_key_encoding=_SEPARATOR,
        config={"write_empty_chunks": True},
    )


def _read(group: zarr.Group, name: str) -> npt.NDArray[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(f"{name} is a group, expected an array")
    return np.asarray(array[...])
