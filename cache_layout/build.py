"""Putting folders of a store in place: whole, flushed, and without harm where two processes do it at once."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.campaigns import Campaign, ensure_groups_above, pending_folder, save_campaign
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.files import sync_folder, sync_tree, temporary_name
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import all_differences
from fdbpl.cache_layout.tables import create_arrays, write_class_list, write_images


def build_store(
    path: Path,
    attributes: Mapping[str, Any],
    images: ImageIndex,
    class_lists: Sequence[ClassList],
    campaigns: Mapping[str, Sequence[ArraySpec]],
    grid: BlockGrid,
) -> None:
    """Build a store beside `path` and rename it; where another process was first, that one's store stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.parent / f".{path.name}{temporary_name()}"
    try:
        root = zarr.create_group(str(building), zarr_format=3, attributes=dict(attributes))
        write_images(root, images)
        root.create_group("classes")
        for classes in class_lists:
            write_class_list(root, classes)
        root.create_group("records")
        for name, specs in campaigns.items():
            create_arrays(root, specs, grid)
            save_campaign(building, Campaign(name=name, arrays=tuple(specs)))
        sync_tree(building)
        _rename_folder(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def install_arrays(store: Path, campaign: str, specs: Sequence[ArraySpec], grid: BlockGrid) -> None:
    """Put the folders of new arrays in place, each whole; those of an earlier attempt must be the same."""
    staging = pending_folder(store, campaign)
    building = staging / temporary_name()
    staging.mkdir(parents=True, exist_ok=True)
    try:
        create_arrays(zarr.create_group(str(building), zarr_format=3), specs, grid)
        sync_tree(building)
        for spec in specs:
            folder = store / spec.name
            ensure_groups_above(store, folder, staging)
            _rename_folder(building / spec.name, folder)
            check_metadata(store, spec, grid)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def check_metadata(store: Path, spec: ArraySpec, grid: BlockGrid) -> None:
    """CacheError unless the array's `zarr.json` has the shape, type, chunks and codecs of the format."""
    path = store / spec.name / "zarr.json"
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise CacheError(f"{path}: no array metadata ({error}); the store is damaged: make it anew") from error
    expected = spec.metadata(grid)
    gaps = all_differences({key: found.get(key) for key in expected}, expected)
    if gaps:
        listed = "; ".join(map(str, gaps))
        raise CacheError(f"{path}: not an array of this format: {listed}; make the store anew")


def _rename_folder(source: Path, target: Path) -> None:
    """Rename a folder; where another one has taken the name first, that one stays."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    sync_folder(target.parent)
