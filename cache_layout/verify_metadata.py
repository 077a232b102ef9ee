"""Checking all files of a store that are no shards. Each is a function of values that a digest guards.

So every such file is made again from the values that were read, and its bytes are compared: nothing that was
changed in it stays unseen, whether or not a reader would look at it. What cannot be made again, because the values
cannot be read, is named. Along the way the names are gathered that belong to the store. Of a store of format
version 1, whose metadata zarr-python wrote, metadata are compared by their fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.build import check_metadata
from fdbpl.cache_layout.campaigns import ATTRIBUTE, Campaign, load_campaign
from fdbpl.cache_layout.documents import METADATA, document_bytes, read_attributes, read_document
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.flat_array import flat_files
from fdbpl.cache_layout.shard import index_bytes, plane_stride
from fdbpl.cache_layout.store import Store
from fdbpl.cache_layout.store_files import StoreFiles, problem_of, text_of
from fdbpl.cache_layout.tables import class_files, image_files, read_image_part, read_images

_MOST_PLAIN_BYTES = 128
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


def check_store_files(store: Store) -> StoreFiles:
    """Check every file of a store but the shards."""
    found = StoreFiles(store=store)
    if store.version == 1:
        found.files.add(METADATA)
    else:
        found.expect(METADATA, document_bytes(store.document()))
    _check_campaigns(found)
    for campaign in found.campaigns.values():
        _check_tables(found, campaign)
    _check_arrays(found)
    _check_images(found)
    _check_classes(found)
    return found


def _check_campaigns(found: StoreFiles) -> None:
    """Every group below `records`: campaigns, and plain groups that their names are made of."""
    found.expect_group("records")
    for folder in _folders(found.store.path / "records"):
        name = folder.relative_to(found.store.path / "records").as_posix()
        if _is_plain_group(folder):
            found.expect_group(f"records/{name}")
        else:
            _check_campaign(found, name)
    if not found.campaigns and not found.findings:
        found.find("records", "found no campaign, expected at least one")


def _is_plain_group(folder: Path) -> bool:
    """Whether a group is none of a campaign, even where its file is harmed: a campaign's is larger."""
    try:
        return ATTRIBUTE not in read_attributes(folder) and not _looks_like_campaign(folder)
    except (OSError, CacheError):
        return not _looks_like_campaign(folder)


def _looks_like_campaign(folder: Path) -> bool:
    path = folder / METADATA
    has_large_file = path.is_file() and path.stat().st_size > _MOST_PLAIN_BYTES
    return has_large_file or not _subfolders(folder) or next(folder.glob("_seal-*"), None) is not None


def _check_campaign(found: StoreFiles, name: str) -> None:
    file = f"records/{name}/{METADATA}"
    found.files.add(file)
    try:
        campaign = load_campaign(found.store.path, name, found.store.manifest.fingerprint, found.store.blocks_json)
    except (CacheError, OSError, KeyError) as error:
        found.folders.add(f"records/{name}")
        found.lost_campaigns.append(name)
        found.find(file, "found no campaign" if isinstance(error, KeyError) else text_of(error))
        return
    found.campaigns[name] = campaign
    content = document_bytes(campaign.document())
    problem = problem_of(found.store.path / file, content) if found.store.version > 1 else ""
    problem = problem or _problem_of_growth(campaign)
    if problem:
        found.find(file, problem)


def _problem_of_growth(campaign: Campaign) -> str:
    """What is wrong with the grid that a campaign shall cover, empty where it can be grown to."""
    if not campaign.seals:
        return ""
    try:
        campaign.seals[-1].grid.grown(num_seeds=campaign.grid.num_seeds)
    except ValueError as error:
        return text_of(error)
    return ""


def _check_tables(found: StoreFiles, campaign: Campaign) -> None:
    """The tables of records that a campaign's seals name."""
    if found.store.version == 1:
        return
    tables = found.store.sealed_tables(campaign)
    for seal in campaign.seals:
        folder = f"records/{campaign.name}/{seal.table}"
        try:
            _, columns = next(tables)
        except (CacheError, OSError) as error:
            found.folders |= {f"records/{campaign.name}/{each.table}" for each in campaign.seals}
            found.find(folder, text_of(error))
            return
        found.expect_group(folder)
        for name, values in columns.items():
            for file, content in flat_files(values).items():
                found.expect(f"{folder}/{name}/{file}", content)


def _check_arrays(found: StoreFiles) -> None:
    """The metadata of every array, and the groups above it. One that can be read vouches for the root's blocks."""
    owners = [(campaign, spec) for campaign in found.campaigns.values() for spec in campaign.arrays]
    for _, spec in owners:
        parts = spec.name.split("/")
        for depth in range(1, len(parts)):
            found.expect_group("/".join(parts[:depth]))
    if found.store.version == 1:
        for campaign, spec in owners:
            found.files.add(f"{spec.name}/{METADATA}")
            try:
                check_metadata(found.store.path, spec, campaign.grid)
            except (CacheError, OSError) as error:
                found.find(f"{spec.name}/{METADATA}", text_of(error))
        return
    wanted = {f"{spec.name}/{METADATA}": _array_document(found.store, spec, campaign) for campaign, spec in owners}
    fits = [problem_of(found.store.path / file, content) == "" for file, content in wanted.items()]
    found.blocks_are_right = any(fits) or any(_sizes_fit(found.store, each) for each in found.campaigns.values())
    if wanted and not found.blocks_are_right:
        stated = dict(found.store.blocks_json)
        found.find(METADATA, f"no array has the blocks that the root states, {stated}; no shard could be checked")
        found.folders |= {spec.name for _, spec in owners}
        return
    for file, content in wanted.items():
        found.expect(file, content, regenerable=True)


def _array_document(store: Store, spec: ArraySpec, campaign: Campaign) -> bytes:
    """The right metadata of an array. Until a campaign is sealed, they may reach as far as before it was grown."""
    grid = campaign.grid
    document = spec.document(grid)
    if not campaign.is_sealed:
        least = campaign.seals[-1].grid if campaign.seals else replace(grid, image_counts=(1,), num_seeds=1)
        try:
            shape = read_document(store.path / spec.name).get("shape")
        except (OSError, CacheError):
            shape = None
        if _lies_between(shape, spec.shape(least), spec.shape(grid)):
            document["shape"] = shape
        elif campaign.seals:
            document["shape"] = list(spec.shape(least))
    return document_bytes(document)


def _lies_between(shape: object, least: tuple[int, ...], most: tuple[int, ...]) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) == len(most)
        and all(type(n) is int and low <= n <= high for n, low, high in zip(shape, least, most, strict=True))
    )


def _sizes_fit(store: Store, campaign: Campaign) -> bool:
    """Whether the sealed files have the size that files of ours have with the root's blocks."""
    try:
        _, columns = next(store.sealed_tables(campaign))
    except (StopIteration, CacheError, OSError):
        return False
    expected = [
        len(campaign.grid.block(0, 0).seeds)
        * plane_stride(campaign.grid.images_per_block * spec.row_bytes, spec.row_bytes)
        + index_bytes(campaign.grid)
        for spec in campaign.arrays
    ]
    return bool(columns["size"][0].tolist() == expected)


def _check_images(found: StoreFiles) -> None:
    """Every part of the image index, by its own digest and by the one that the seals name."""
    store = found.store
    found.expect_group("images")
    if store.legacy_images is not None:
        _check_image_part(found, "images", store.legacy_images)
        return
    needed = max((len(campaign.grid.image_counts) for campaign in found.campaigns.values()), default=0)
    present = {int(each.name) for each in _subfolders(store.path / "images") if _NUMBER.fullmatch(each.name)}
    for number in sorted(present | set(range(needed))):
        folder = f"images/{number}"
        try:
            part = read_image_part(store.path, number)
        except (CacheError, OSError) as error:
            found.folders.add(folder)
            found.find(f"{folder}/{METADATA}", text_of(error))
            continue
        if part is None:
            found.folders.add(folder)
            found.find(f"{folder}/{METADATA}", "the file is missing")
            continue
        _check_image_part(found, folder, part.digest)
        for name, campaign, digest, count in _stated_images(found.campaigns.values(), number):
            if digest not in (None, part.digest):
                found.find(folder, f"found digest {part.digest}, expected {digest}, which {name} names")
            elif count != part.count:
                found.find(folder, f"found {part.count} images, expected {count}, which campaign {campaign} covers")


def _stated_images(campaigns: Iterable[Campaign], number: int) -> Iterator[tuple[str, str, str | None, int]]:
    """What campaigns and their seals say of one part: who says it, its campaign, digest and count."""
    for campaign in campaigns:
        for at, seal in enumerate(campaign.seals):
            if number < len(seal.images):
                yield (
                    f"seal {at} of campaign {campaign.name}",
                    campaign.name,
                    seal.images[number],
                    _count(seal.grid, number),
                )
        if number < len(campaign.grid.image_counts):
            yield f"campaign {campaign.name}", campaign.name, None, _count(campaign.grid, number)


def _count(grid: BlockGrid, number: int) -> int:
    return grid.image_counts[number] if number < len(grid.image_counts) else 0


def _check_image_part(found: StoreFiles, folder: str, digest: str) -> None:
    try:
        images = read_images(found.store.path, folder, digest)
    except (CacheError, OSError) as error:
        found.folders.add(folder)
        found.find(folder, text_of(error))
        return
    if found.store.version == 1:
        found.folders |= {f"{folder}/{name}" for name in ("path_bytes", "path_offsets", "size", "digest", "label")}
        return
    for file, content in image_files(folder, images):
        found.expect(file, content)


def _check_classes(found: StoreFiles) -> None:
    found.expect_group("classes")
    for each in _subfolders(found.store.path / "classes"):
        folder = f"classes/{each.name}"
        try:
            classes = found.store.class_list(each.name)
        except (CacheError, OSError) as error:
            found.folders.add(folder)
            found.find(folder, text_of(error))
            continue
        if found.store.version == 1:
            found.files.add(f"{folder}/{METADATA}")
            found.folders.add(f"{folder}/text_embedding")
            continue
        for file, content in class_files(folder, classes):
            found.expect(file, content)


def _folders(root: Path) -> Iterator[Path]:
    """All folders below `root` that may be campaigns, in order."""
    for folder in _subfolders(root):
        yield folder
        yield from _folders(folder)


def _subfolders(folder: Path) -> list[Path]:
    """Folders that can have a name in a store: not tables, not what is being built."""
    try:
        return sorted(each for each in folder.iterdir() if each.name[0].isalnum() and each.is_dir())
    except OSError:
        return []
