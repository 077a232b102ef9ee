"""Campaigns: named sets of arrays that one pass writes together, and how far each is written and sealed.

One Zarr group, `records/<campaign>`, holds what a campaign is (arrays, manifest, the grid it shall cover)
and its seals, one for each time it was closed: first, and after each growth. Each seal names the grid it
covers, the table of its new files' records, and the seal before it. The group's file is replaced whole, so
it alone says what is sealed. Each campaign has its own, so two jobs that write campaigns at once do not meet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from fdbpl.cache_layout import format_1
from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.documents import (
    METADATA,
    ensure_groups_above,
    group_document,
    read_attributes,
    replace_document,
)
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.files import sync_folder
from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.cache_layout.records import RecordTable

ATTRIBUTE = "fdbpl_campaign"


@dataclass(frozen=True, kw_only=True)
class SealEntry:
    """One closing of a campaign: all blocks of `grid` are written, those beyond the seal before it in `table`.

    `digest` covers all that is here, the seal before it, the store's manifest and the campaign's.
    """

    grid: BlockGrid
    table: str
    table_digest: str
    images: tuple[str, ...]
    num_files: int
    num_bytes: int
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "grid": self.grid.to_json(),
            "table": self.table,
            "table_digest": self.table_digest,
            "images": list(self.images),
            "files": self.num_files,
            "bytes": self.num_bytes,
            "digest": self.digest,
        }


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign as it is on disk.

    `manifest` says what its arrays were made with beyond what the store's own manifest says: the student whose
    features they are, for example. `grid` is what it shall cover. `withdrawn` are blocks that were sealed and
    found damaged: they have to be written and sealed again. `legacy_records` holds those of a store of format 1.
    """

    name: str
    arrays: tuple[ArraySpec, ...]
    grid: BlockGrid
    manifest: Mapping[str, Any] = field(default_factory=dict)
    seals: tuple[SealEntry, ...] = ()
    withdrawn: tuple[str, ...] = ()
    legacy_records: RecordTable | None = None

    @property
    def sealed_grid(self) -> BlockGrid | None:
        """What may be read: the grid of the last seal; None before the first, and while blocks are withdrawn."""
        return self.seals[-1].grid if self.seals and not self.withdrawn else None

    @property
    def is_sealed(self) -> bool:
        """Whether all that the campaign shall cover is sealed."""
        return self.sealed_grid == self.grid

    @property
    def seal_digest(self) -> str | None:
        """The digest of the last seal, which covers the ones before it."""
        return self.seals[-1].digest if self.seals else None

    def vouches_for(self, block: Block) -> bool:
        """Whether a seal covers the block, and it was not withdrawn since."""
        if not self.seals or block.id in self.withdrawn:
            return False
        grid = self.seals[-1].grid
        return block.image_block < grid.num_image_blocks and block.seed_block < grid.num_seed_blocks

    def grid_of_seal(self, digest: str | None) -> BlockGrid | None:
        """What may be read by one who saw the seal with this digest; None where it is none of the campaign's."""
        found = [seal.grid for seal in self.seals if seal.digest == digest and not self.withdrawn]
        return found[0] if found else None

    def to_json(self) -> dict[str, Any]:
        return {
            "arrays": {spec.name: spec.to_json() for spec in self.arrays},
            "manifest": dict(self.manifest),
            "grid": self.grid.to_json(),
            "withdrawn": list(self.withdrawn),
            "seals": [seal.to_json() for seal in self.seals],
        }

    def document(self) -> dict[str, Any]:
        """The whole metadata of the campaign's group, with a digest over all of it."""
        fields = self.to_json()
        return group_document({ATTRIBUTE: {**fields, "digest": digest_of(canonical_json(fields).encode())}})


def group_folder(store: Path, name: str) -> Path:
    """The campaign's Zarr group."""
    return store / "records" / name


def pending_folder(store: Path, name: str) -> Path:
    """Where the done-records lie until the campaign is sealed."""
    return store / ".records" / name


def seal_digest(fingerprint: str, campaign: Campaign, entry: SealEntry, previous: str | None) -> str:
    """What a seal vouches for: manifests, arrays, images, and every file's size and content."""
    fields = {
        "fingerprint": fingerprint,
        "campaign": campaign.name,
        "arrays": {spec.name: spec.to_json() for spec in campaign.arrays},
        "manifest": dict(campaign.manifest),
        "seal": {key: value for key, value in entry.to_json().items() if key != "digest"},
        "previous": previous,
    }
    return digest_of(canonical_json(fields).encode())


def load_campaign(store: Path, name: str, fingerprint: str, blocks: Mapping[str, int]) -> Campaign:
    """Read a campaign and check its seals. KeyError where the store has none of this name.

    Args:
        blocks: the store's images_per_block and seeds_per_block; of format version 1, its whole grid.
    """
    folder = group_folder(store, name)
    try:
        fields = read_attributes(folder).get(ATTRIBUTE)
    except FileNotFoundError:
        fields = None
    if fields is None:
        raise KeyError(name)
    try:
        if "num_images" in blocks:
            return _load_legacy(folder, name, fields, fingerprint, blocks)
        campaign = _checked(folder, _parse(name, fields, blocks), fingerprint)
        stated = {key: value for key, value in fields.items() if key != "digest"}
        digest = digest_of(canonical_json(stated).encode())
        if digest != fields["digest"]:
            raise _changed(folder, "fields", digest, fields["digest"])
        return campaign
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CacheError(
            f"{folder}/{METADATA}: found no campaign of this format ({error!r}); restore it, or make the store anew"
        ) from error


def campaign_names(store: Path) -> list[str]:
    """The store's campaigns, sorted."""
    root = store / "records"
    names = []
    for folder, subfolders, files in os.walk(root):
        # Tables of records have names that no campaign can have.
        subfolders[:] = [name for name in subfolders if name[0].isalnum()]
        if METADATA in files and ATTRIBUTE in read_attributes(Path(folder)):
            names.append(str(Path(folder).relative_to(root)))
    return sorted(names)


def save_campaign(store: Path, campaign: Campaign) -> None:
    """Replace the group of a campaign whole, or make it, and the groups above it."""
    folder, staging = group_folder(store, campaign.name), pending_folder(store, campaign.name)
    if not folder.exists():
        staging.mkdir(parents=True, exist_ok=True)
        ensure_groups_above(store, folder, staging)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    replace_document(folder, campaign.document())


def _parse(name: str, fields: Mapping[str, Any], blocks: Mapping[str, int]) -> Campaign:
    return Campaign(
        name=name,
        arrays=tuple(ArraySpec.from_json(array, spec) for array, spec in fields["arrays"].items()),
        grid=BlockGrid.from_json(fields["grid"], **blocks),
        manifest=fields["manifest"],
        withdrawn=tuple(fields["withdrawn"]),
        seals=tuple(
            SealEntry(
                grid=BlockGrid.from_json(seal["grid"], **blocks),
                table=seal["table"],
                table_digest=seal["table_digest"],
                images=tuple(seal["images"]),
                num_files=seal["files"],
                num_bytes=seal["bytes"],
                digest=seal["digest"],
            )
            for seal in fields["seals"]
        ),
    )


def _checked(folder: Path, campaign: Campaign, fingerprint: str) -> Campaign:
    previous: str | None = None
    for number, seal in enumerate(campaign.seals):
        digest = seal_digest(fingerprint, campaign, seal, previous)
        if digest != seal.digest:
            raise _changed(folder, f"seal {number}", digest, seal.digest)
        previous = digest
    grids = [*(seal.grid for seal in campaign.seals), campaign.grid]
    for before, after in pairwise(grids):
        if not after.covers(before):
            raise ValueError(f"found the grid {after}, expected one that covers {before}, which is sealed")
    for block_id in campaign.withdrawn:
        campaign.grid.block(*map(int, block_id.split(".")))
    return campaign


def _load_legacy(
    folder: Path, name: str, fields: Mapping[str, Any], fingerprint: str, grid_fields: Mapping[str, int]
) -> Campaign:
    found = format_1.campaign_of(name, fields, fingerprint, grid_fields)
    if found.digest != found.sealed_digest:
        raise _changed(folder, "records", str(found.digest), str(found.sealed_digest))
    campaign = Campaign(name=name, arrays=found.arrays, grid=found.grid, manifest=fields["manifest"])
    if found.records is None:
        return campaign
    seal = SealEntry(
        grid=found.grid,
        table="",
        table_digest="",
        images=(),
        num_files=fields["seal"]["files"],
        num_bytes=fields["seal"]["bytes"],
        digest=str(found.digest),
    )
    return Campaign(
        name=name,
        arrays=found.arrays,
        grid=found.grid,
        manifest=fields["manifest"],
        seals=(seal,),
        legacy_records=found.records,
    )


def _changed(folder: Path, what: str, found: str, expected: str) -> CacheError:
    return CacheError(
        f"{folder}/{METADATA}: found {what} with digest {found}, expected {expected}: the file was changed, or "
        "belongs to another store; restore it, or make the store anew"
    )
