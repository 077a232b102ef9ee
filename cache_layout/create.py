"""Making a store. It appears whole: it is built under a temporary name beside its path, flushed, and renamed, so of
two processes that make it at once one wins and the other opens the winner's and compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.build import build_store
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.compare import campaign_differences, check_campaigns, class_differences
from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import ABSENT, Difference, Manifest, all_differences, differences
from fdbpl.cache_layout.store import Store, open_store, root_document
from fdbpl.cache_layout.whole_folder import is_occupied


def create_store(
    path: str | Path,
    *,
    manifest: Manifest,
    images: ImageIndex,
    class_lists: Sequence[ClassList],
    num_seeds: int,
    images_per_block: int,
    seeds_per_block: int,
    campaigns: Mapping[str, Sequence[ArraySpec]],
) -> Store:
    """Make a store, or open the one at `path` if it is the same (it may have grown since).

    Args:
        path: of the store; the folders above are made.
        manifest: all that changes a label.
        images: the N images, in order.
        class_lists: written to `classes/<name>`.
        num_seeds: S, crops of each image.
        images_per_block: images in one file, at most N is useful.
        seeds_per_block: seeds in one file; seeds can be added later where it divides S.
        campaigns: the arrays that each pass writes together.

    Raises:
        ValueError: names or numbers that no store can have.
        ManifestMismatch: the store at `path` has another manifest, grid, image index, class list or array.
        CacheError: `path` holds something that is not a store.
    """
    path = Path(path).absolute()
    grid = BlockGrid(
        image_counts=(len(images),),
        num_seeds=num_seeds,
        images_per_block=images_per_block,
        seeds_per_block=seeds_per_block,
    )
    check_campaigns(campaigns)
    if not is_occupied(path):
        blocks = {"images_per_block": images_per_block, "seeds_per_block": seeds_per_block}
        build_store(path, root_document(manifest, blocks), images, class_lists, campaigns, grid)
    store = open_store(path)
    gaps = all_differences(store.manifest, manifest)
    gaps += _extent_differences(store, grid, images)
    gaps += campaign_differences(store.campaigns, campaigns)
    gaps += _class_list_differences(store, class_lists)
    if gaps:
        raise ManifestMismatch(str(path), gaps)
    return store


def _extent_differences(store: Store, grid: BlockGrid, images: ImageIndex) -> list[Difference]:
    """Where the store does not begin with these images and seeds, in these blocks."""
    found = store.grid
    gaps = differences(
        {**store.blocks_json, "images": store.image_digests(1)[0]},
        {
            "images_per_block": grid.images_per_block,
            "seeds_per_block": grid.seeds_per_block,
            "images": images.digest,
        },
    )
    if found.num_seeds < grid.num_seeds:
        gaps.append(Difference("num_seeds", found.num_seeds, grid.num_seeds))
    return gaps


def _class_list_differences(store: Store, class_lists: Sequence[ClassList]) -> list[Difference]:
    gaps: list[Difference] = []
    for classes in class_lists:
        if classes.name in store.class_lists:
            gaps += class_differences(store.class_list(classes.name), classes)
        else:
            gaps.append(Difference(f"class_lists.{classes.name}", ABSENT, f"{len(classes)} classes"))
    return gaps
