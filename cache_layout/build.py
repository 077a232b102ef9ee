"""Putting folders of a store in place: whole, flushed, and without harm where two processes do it at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.campaigns import Campaign, group_folder
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.documents import (
    METADATA,
    ensure_groups_above,
    group_document,
    put_document,
    put_groups_above,
    read_document,
    replace_document,
)
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.files import sync_tree, temporary_name
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import all_differences
from fdbpl.cache_layout.tables import put_class_list, put_images
from fdbpl.cache_layout.whole_folder import rename_folder, whole_folder


def build_store(
    path: Path,
    document: Mapping[str, Any],
    images: ImageIndex,
    class_lists: Sequence[ClassList],
    campaigns: Mapping[str, Sequence[ArraySpec]],
    grid: BlockGrid,
) -> None:
    """Build a store beside `path` and rename it; where another process was first, that one's store stays."""
    with whole_folder(path) as building:
        put_document(building, document)
        for folder in ("images", "classes", "records"):
            put_document(building / folder, group_document())
        put_images(building / "images" / "0", images)
        for classes in class_lists:
            put_class_list(building / "classes" / classes.name, classes)
        for name, specs in campaigns.items():
            put_arrays(building, specs, grid)
            group = group_folder(building, name)
            put_groups_above(building, group)
            put_document(group, Campaign(name=name, arrays=tuple(specs), grid=grid).document())


def put_arrays(root: Path, specs: Sequence[ArraySpec], grid: BlockGrid) -> None:
    """Write the metadata of arrays without a shard, and the groups above them, in a tree that nobody sees yet."""
    for spec in specs:
        put_document(root / spec.name, spec.document(grid))
        put_groups_above(root, root / spec.name)


def install_folder(store: Path, name: str, staging: Path, put: Callable[[Path], None]) -> None:
    """Put the folder `name` in place whole, as `put` writes it; one of an earlier attempt stays as it is."""
    building = staging / temporary_name()
    staging.mkdir(parents=True, exist_ok=True)
    try:
        put(building)
        sync_tree(building)
        ensure_groups_above(store, store / name, staging)
        rename_folder(building, store / name)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def check_metadata(store: Path, spec: ArraySpec, grid: BlockGrid) -> None:
    """CacheError unless the array's `zarr.json` has the type, chunks and codecs of the format, and at least `grid`.

    Only the first two axes may be longer: the array has grown since the grid was read.
    """
    path = store / spec.name / METADATA
    try:
        found = read_document(store / spec.name)
    except FileNotFoundError as error:
        raise CacheError(f"{path}: no array metadata; the store is damaged: restore it or make it anew") from error
    expected = spec.metadata(grid)
    shape = found.get("shape")
    if _is_longer(shape, expected["shape"]):
        expected["shape"] = shape
    gaps = all_differences({key: found.get(key) for key in expected}, expected)
    if gaps:
        listed = "; ".join(map(str, gaps))
        raise CacheError(f"{path}: not an array of this format: {listed}; make the store anew")


def widen_array(store: Path, spec: ArraySpec, grid: BlockGrid) -> None:
    """Let the array's metadata reach as far as `grid`; nothing where it does already."""
    if read_document(store / spec.name).get("shape") != list(spec.shape(grid)):
        replace_document(store / spec.name, spec.document(grid))


def _is_longer(found: Any, expected: list[int]) -> bool:
    if not isinstance(found, list) or len(found) != len(expected) or not all(isinstance(n, int) for n in found):
        return False
    return found[2:] == expected[2:] and all(left >= right for left, right in zip(found, expected, strict=True))
