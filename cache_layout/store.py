"""The store as a whole: opening it, and asking what is written.

Opening checks the format version and that the fingerprint fits the manifest. What is written is always asked
of the disk, never remembered. Cost: a few small files, however many shards there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fdbpl.cache_layout import format_1
from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.campaigns import Campaign, campaign_names, group_folder, load_campaign, pending_folder
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.documents import group_document, read_attributes
from fdbpl.cache_layout.errors import CacheError, DamagedFile, UnknownArray
from fdbpl.cache_layout.flat_array import read_flat
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.records import TABLE_ARRAYS, PendingRecords, Places, RecordTable, columns_digest
from fdbpl.cache_layout.tables import (
    class_list_names,
    join_images,
    read_class_list,
    read_excluded,
    read_image_part,
    read_images,
)

FORMAT_VERSION = 2
ATTRIBUTE = "fdbpl"
ARCHIVE = "fdbpl_archive"  # stands in its place in the root of a compressed archive


@dataclass(frozen=True, kw_only=True)
class Store:
    """An open store; it holds no file open and may be pickled. `blocks_json` is the root's word on its blocks."""

    path: Path
    version: int
    manifest: Manifest
    blocks_json: Mapping[str, int]
    legacy_images: str | None = None

    @cached_property
    def grid(self) -> BlockGrid:
        """How far the farthest of its campaigns shall reach, in images and in seeds, written or not."""
        grids = [self.campaign(name).grid for name in campaign_names(self.path)]
        if not grids:
            raise CacheError(f"the store at {self.path} has no campaign: restore `records`, or make the store anew")
        longest = max((grid.image_counts for grid in grids), key=len)
        return BlockGrid(
            image_counts=longest,
            num_seeds=max(grid.num_seeds for grid in grids),
            images_per_block=self.blocks_json["images_per_block"],
            seeds_per_block=self.blocks_json["seeds_per_block"],
        )

    @cached_property
    def images(self) -> ImageIndex:
        """The image index over all parts of `grid`, read and checked once."""
        return self.images_of(self.grid)

    @cached_property
    def excluded(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of the files that were left out, over all parts of `grid`: the parts' own word, without a look
        at the index, whose digests vouch for it."""
        if self.legacy_images is not None:
            return ()
        return tuple(pair for number in range(len(self.grid.image_counts)) for pair in read_excluded(self.path, number))

    def images_of(self, grid: BlockGrid) -> ImageIndex:
        """The index of the images of a grid, read and checked."""
        if self.legacy_images is not None:
            return read_images(self.path, "images", self.legacy_images)
        digests = self.image_digests(len(grid.image_counts))
        return join_images([read_images(self.path, f"images/{part}", digest) for part, digest in enumerate(digests)])

    def image_digests(self, num_parts: int) -> tuple[str, ...]:
        """The digest of each part of the image index."""
        if self.legacy_images is not None:
            return (self.legacy_images,)
        parts = [read_image_part(self.path, number) for number in range(num_parts)]
        missing = [f"images/{number}: missing" for number, part in enumerate(parts) if part is None]
        if missing:
            raise DamagedFile(str(self.path), missing)
        return tuple(part.digest for part in parts if part is not None)

    @property
    def class_lists(self) -> tuple[str, ...]:
        """The names of the class lists."""
        return class_list_names(self.path)

    def class_list(self, name: str) -> ClassList:
        """A class list with its text embedding; UnknownArray where there is none of this name."""
        return read_class_list(self.path, name)

    @property
    def campaigns(self) -> dict[str, tuple[ArraySpec, ...]]:
        """The arrays of each campaign."""
        return {name: self.campaign(name).arrays for name in campaign_names(self.path)}

    @property
    def arrays(self) -> dict[str, ArraySpec]:
        """All arrays by name."""
        return {spec.name: spec for specs in self.campaigns.values() for spec in specs}

    def campaign(self, name: str) -> Campaign:
        """A campaign as it is on disk now; UnknownArray where there is none of this name."""
        try:
            return load_campaign(self.path, name, self.manifest.fingerprint, self.blocks_json)
        except KeyError:
            raise UnknownArray(str(self.path), "campaign", name, campaign_names(self.path)) from None

    @property
    def is_sealed(self) -> bool:
        """Whether every campaign is sealed."""
        return all(self.campaign(name).is_sealed for name in campaign_names(self.path))

    def blocks(self, campaign: str) -> list[Block]:
        """All blocks that a campaign shall cover, written or not."""
        return list(self.campaign(campaign).grid.blocks())

    def missing_blocks(self, campaign: str) -> list[Block]:
        """Blocks without a record, or with a file that is gone.

        Costs one listing of each array's folder. Of a block that is not sealed yet, sizes are compared as well.
        """
        found = self.campaign(campaign)
        records = self.records(found)
        names = {spec.name: _file_names(self.path / spec.name) for spec in found.arrays}
        return [
            block
            for block in found.grid.blocks()
            if block not in records
            or any(Path(spec.file_name(block)).name not in names[spec.name] for spec in found.arrays)
            or (not found.vouches_for(block) and not self._sizes_fit(found, block, records))
        ]

    def records(self, campaign: str | Campaign) -> RecordTable:
        """The records of a campaign's finished blocks: those that are sealed, and the done-records since."""
        found = self.campaign(campaign) if isinstance(campaign, str) else campaign
        table = self.sealed_records(found)
        if found.is_sealed:
            return table
        names = [spec.name for spec in found.arrays]
        pending = self.pending(found.name)
        for block in pending.present(block for block in found.grid.blocks() if block not in table):
            record = pending.load(block, names)
            if record is not None:
                table.put(block, record)
        return table

    def sealed_records(self, campaign: Campaign) -> RecordTable:
        """The records that a campaign's seals vouch for, but for blocks that were withdrawn."""
        if campaign.legacy_records is not None:
            return campaign.legacy_records
        table = RecordTable.empty(campaign.grid, [spec.name for spec in campaign.arrays])
        for places, columns in self.sealed_tables(campaign):
            table.enter(places, columns)
        for block in self._withdrawn(campaign):
            table.drop(block)
        return table

    def pending(self, campaign: str) -> PendingRecords:
        """The done-records of a campaign."""
        identity = {"fingerprint": self.manifest.fingerprint, "campaign": campaign}
        return PendingRecords(folder=pending_folder(self.path, campaign), identity=identity)

    def document(self) -> dict[str, Any]:
        """The whole metadata of the store's root group."""
        return root_document(self.manifest, self.blocks_json)

    def require_current(self) -> None:
        """CacheError where the store is of an older format: it can be read, not added to."""
        if self.version != FORMAT_VERSION:
            raise CacheError(
                f"the store at {self.path} has format version {self.version}, expected {FORMAT_VERSION} to add to "
                "it: it can be read as it is; make it anew to extend it"
            )

    def sealed_tables(self, campaign: Campaign) -> Iterator[tuple[Places, dict[str, Any]]]:
        """Of each seal in turn, the blocks that it added and the columns of their table, read and checked.

        Raises:
            DamagedFile: a table that is missing, changed, or of other blocks.
        """
        before: BlockGrid | None = None
        for seal in campaign.seals:
            folder = group_folder(self.path, campaign.name) / seal.table
            try:
                columns = {name: read_flat(folder / name) for name in TABLE_ARRAYS}
            except ValueError as error:
                raise DamagedFile(str(self.path), [f"{folder.relative_to(self.path)}: {error}"]) from error
            where = folder.relative_to(self.path)
            if columns_digest(columns) != seal.table_digest:
                found = columns_digest(columns)
                raise DamagedFile(str(self.path), [f"{where}: found digest {found}, expected {seal.table_digest}"])
            places = seal.grid.places(beyond=before)
            shape = (len(places[0]), len(campaign.arrays))
            shapes = [shape, (*shape, 32), (*shape, seal.grid.seeds_per_block)]
            if [columns[name].shape for name in TABLE_ARRAYS] != shapes:
                found_shapes = [columns[name].shape for name in TABLE_ARRAYS]
                raise DamagedFile(str(self.path), [f"{where}: found shapes {found_shapes}, expected {shapes}"])
            yield places, columns
            before = seal.grid

    def _withdrawn(self, campaign: Campaign) -> set[Block]:
        return {campaign.grid.block(*map(int, name.split("."))) for name in campaign.withdrawn}

    def _sizes_fit(self, campaign: Campaign, block: Block, records: RecordTable) -> bool:
        record = records.get(block) or {}
        return all(file_size(self.path / spec.file_name(block)) == record[spec.name].size for spec in campaign.arrays)


def open_store(path: str | Path) -> Store:
    """Open a store; CacheError where there is none, of an unknown format version, or with a changed manifest."""
    path = Path(path).absolute()
    try:
        attributes = read_attributes(path)
    except (FileNotFoundError, NotADirectoryError):
        attributes = {}
    fields = attributes.get(ATTRIBUTE)
    if fields is None and ARCHIVE in attributes:
        raise CacheError(f"found a compressed archive at {path}: `fdbpl cache import {path} STORE` makes a store of it")
    if fields is None:
        raise CacheError(f"found no store at {path}, expected one: `fdbpl teach CONFIG` makes it")
    try:
        return _parse_root(path, fields)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CacheError(f"{path}/zarr.json: found no store of this format ({error!r}): restore the file") from error


def file_size(path: Path) -> int | None:
    """Size of a file in bytes; None where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _parse_root(path: Path, fields: Mapping[str, Any]) -> Store:
    version = fields["format_version"]
    if version not in (1, FORMAT_VERSION):
        raise CacheError(
            f"the store at {path}: found format version {version}, expected at most {FORMAT_VERSION}; "
            "read it with the fdbpl that wrote it, or make it anew"
        )
    manifest = Manifest(fields["manifest"])
    if manifest.fingerprint != fields["fingerprint"]:
        raise CacheError(
            f"the store at {path}: the manifest has fingerprint {manifest.fingerprint}, expected "
            f"{fields['fingerprint']}; it was changed after the store was made: restore it, or make another"
        )
    if version == 1:
        format_1.grid_of(fields["grid"])  # refuses numbers that no grid can have
        return Store(
            path=path, version=1, manifest=manifest, blocks_json=fields["grid"], legacy_images=fields["images"]
        )
    return Store(path=path, version=version, manifest=manifest, blocks_json=dict(fields["blocks"]))


def root_document(manifest: Manifest, blocks: Mapping[str, int]) -> dict[str, Any]:
    fields = {
        "format_version": FORMAT_VERSION,
        "manifest": manifest.fields,
        "fingerprint": manifest.fingerprint,
        "blocks": dict(blocks),
    }
    return group_document({ATTRIBUTE: fields})


def _file_names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except FileNotFoundError:
        return set()
