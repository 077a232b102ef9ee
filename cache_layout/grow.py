"""Adding to a store, sealed or not: campaigns, class lists, images, seeds.

Files that exist are never changed: what is added comes in new files, is written by later tasks, and has a
seal of its own. A campaign's grid says what it shall cover, its seals how much of that may be read; readers
that are open go on with what they saw. One process adds at a time; each step is whole or not there, and all
are idempotent.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.build import check_metadata, install_folder
from fdbpl.cache_layout.campaigns import Campaign, pending_folder, save_campaign
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.compare import campaign_differences, check_campaigns, class_differences
from fdbpl.cache_layout.documents import put_document
from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest, all_differences
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.cache_layout.tables import put_class_list, put_images, read_image_part


def add_campaign(
    store: Store,
    name: str,
    specs: Sequence[ArraySpec],
    manifest: Mapping[str, Any] | None = None,
    grid: BlockGrid | None = None,
) -> Store:
    """Add arrays to a store; they are written and sealed by themselves. Idempotent.

    Args:
        manifest: what the arrays are made with beyond the store's own manifest, as JSON fields.
        grid: what they shall cover; as far as the store reaches where None.

    Raises:
        ValueError: names that no store can have, or an array that another campaign has.
        ManifestMismatch: the campaign is there with other arrays or another manifest.
    """
    store.require_current()
    fields = Manifest(manifest or {}).fields
    campaigns = store.campaigns
    check_campaigns({**campaigns, name: specs})
    if name not in campaigns:
        target = grid or store.grid
        for spec in specs:
            put = partial(put_document, document=spec.document(target))
            install_folder(store.path, spec.name, pending_folder(store.path, name), put)
            check_metadata(store.path, spec, target)
        save_campaign(store.path, Campaign(name=name, arrays=tuple(specs), manifest=fields, grid=target))
    gaps = campaign_differences(store.campaigns, {name: specs})
    gaps += all_differences(store.campaign(name).manifest, fields)
    if gaps:
        raise ManifestMismatch(str(store.path), gaps)
    return open_store(store.path)


def add_class_list(store: Store, classes: ClassList) -> Store:
    """Add a class list, whose labels follow from stored embeddings. Idempotent.

    Raises:
        ManifestMismatch: the store has another list of this name.
    """
    store.require_current()
    staging = pending_folder(store.path, "classes")
    install_folder(store.path, f"classes/{classes.name}", staging, lambda folder: put_class_list(folder, classes))
    _remove_empty(store, "classes")
    gaps = class_differences(store.class_list(classes.name), classes)
    if gaps:
        raise ManifestMismatch(str(store.path), gaps)
    return open_store(store.path)


def grow_campaign(store: Store, name: str, grid: BlockGrid) -> Store:
    """Let a campaign cover `grid`, which must cover all that it does now. Idempotent.

    Raises:
        ValueError: a grid that lacks what the campaign has, or images that the store does not have.
    """
    store.require_current()
    campaign = store.campaign(name)
    if not grid.covers(campaign.grid):
        raise ValueError(f"campaign {name}: found the grid {grid}, expected one that covers {campaign.grid}")
    campaign.grid.grown(num_seeds=grid.num_seeds)
    store.image_digests(len(grid.image_counts))
    if grid != campaign.grid:
        save_campaign(store.path, replace(campaign, grid=grid))
    return open_store(store.path)


def add_images(store: Store, images: ImageIndex) -> BlockGrid:
    """Add images as a further part; the grid that reaches over them, for `grow_campaign`. Idempotent.

    A part that no campaign covers yet is what an earlier attempt left: it is replaced by this one. Excluded files
    alone, without an image, are a part too.

    Raises:
        ValueError: images that the store has already, by their paths.
    """
    store.require_current()
    grid = store.grid
    known = set(store.images_of(grid).paths)
    twice = [path for path in images.paths if path in known]
    if twice:
        raise ValueError(
            f"found {len(twice)} images to add that the store at {store.path} has already ({', '.join(twice[:5])}), "
            "expected new ones only"
        )
    number = len(grid.image_counts)
    found = read_image_part(store.path, number)
    if found is not None and found.digest != images.digest:
        shutil.rmtree(store.path / "images" / str(number))
    staging = pending_folder(store.path, "images")
    install_folder(store.path, f"images/{number}", staging, lambda folder: put_images(folder, images))
    _remove_empty(store, "images")
    return grid.grown(new_images=len(images))


def _remove_empty(store: Store, name: str) -> None:
    """Remove a staging folder, and the one above it, where nothing lies in them."""
    for folder in (pending_folder(store.path, name), store.path / ".records"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
