"""Campaigns: named sets of arrays that one pass writes together, and what is known to be written.

While a campaign is written, each finished block has a done-record, `.records/<campaign>/<block id>.json`.
Sealing puts all of them into the attributes of one Zarr group, `records/<campaign>`, with the seal: that
file alone says whether the campaign is sealed, and is replaced whole. Each campaign has its own file, so
two jobs that add campaigns at once do not meet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.files import FileRecord, sync_folder, write_file
from fdbpl.cache_layout.manifest import canonical_json, digest_of

ATTRIBUTE = "fdbpl_campaign"
BlockRecord = Mapping[str, FileRecord]
"""The file of each array, by the array's name."""


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign as its group holds it; `records` (by block id) and `seal_digest` only when it is sealed.

    `manifest` says what its arrays were made with beyond what the store's own manifest says: the student whose
    features they are, for example.
    """

    name: str
    arrays: tuple[ArraySpec, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[str, BlockRecord] | None = None
    seal_digest: str | None = None

    @property
    def is_sealed(self) -> bool:
        return self.records is not None


def group_folder(store: Path, name: str) -> Path:
    """The campaign's Zarr group."""
    return store / "records" / name


def pending_folder(store: Path, name: str) -> Path:
    """Where the done-records lie until the campaign is sealed."""
    return store / ".records" / name


def read_attributes(folder: Path) -> dict[str, Any]:
    """The attributes of a Zarr group; FileNotFoundError where there is none."""
    path = folder / "zarr.json"
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise CacheError(f"{path}: found no JSON ({error}), expected a Zarr group; the store is damaged") from error
    return dict(document.get("attributes", {}))


def write_group(folder: Path, attributes: Mapping[str, Any], staging: Path | None = None) -> None:
    """Write a Zarr group's metadata whole; the temporary file lies in `staging`, or in the folder itself."""
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    content = json.dumps(document, ensure_ascii=False).encode()
    write_file(folder / "zarr.json", content, staging)


def ensure_groups_above(store: Path, folder: Path, staging: Path) -> None:
    """Make every folder between the store and `folder` a Zarr group."""
    for parent in reversed(folder.relative_to(store).parents[:-1]):
        group = store / parent
        group.mkdir(exist_ok=True)
        if not (group / "zarr.json").exists():
            write_group(group, {}, staging)
            sync_folder(group.parent)


def load_campaign(store: Path, name: str, fingerprint: str) -> Campaign:
    """Read a campaign and check its seal. KeyError where the store has none of this name."""
    folder = group_folder(store, name)
    try:
        fields = read_attributes(folder).get(ATTRIBUTE)
    except FileNotFoundError:
        fields = None
    if fields is None:
        raise KeyError(name)
    arrays = tuple(ArraySpec.from_json(array, spec) for array, spec in fields["arrays"].items())
    campaign = Campaign(name=name, arrays=arrays, manifest=fields["manifest"])
    if "seal" not in fields:
        return campaign
    records = {block: _record(files) for block, files in fields["records"].items()}
    digest = seal_digest(fingerprint, campaign, records)
    if digest != fields["seal"]["digest"]:
        raise CacheError(
            f"{folder}/zarr.json: found records with digest {digest}, expected {fields['seal']['digest']} "
            "(the seal's): the file was changed, or belongs to another store; restore it, or make the store anew"
        )
    return replace(campaign, records=records, seal_digest=digest)


def campaign_names(store: Path) -> list[str]:
    """The store's campaigns, sorted."""
    root = store / "records"
    return sorted(
        str(Path(folder).relative_to(root))
        for folder, _, names in os.walk(root)
        if "zarr.json" in names and ATTRIBUTE in read_attributes(Path(folder))
    )


def save_campaign(store: Path, campaign: Campaign) -> None:
    """Write the group of a campaign that has no block yet, and the groups above it."""
    folder, staging = group_folder(store, campaign.name), pending_folder(store, campaign.name)
    staging.mkdir(parents=True, exist_ok=True)
    ensure_groups_above(store, folder, staging)
    folder.mkdir(exist_ok=True)
    write_group(folder, {ATTRIBUTE: _campaign_json(campaign)})
    sync_folder(folder.parent)


def save_seal(store: Path, campaign: Campaign, records: Mapping[str, BlockRecord], fingerprint: str) -> None:
    """Replace the campaign's group by one with all records and the seal: the moment of sealing."""
    files = [file for record in records.values() for file in record.values()]
    seal = {
        "blocks": len(records),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "digest": seal_digest(fingerprint, campaign, records),
    }
    fields = {**_campaign_json(campaign), "records": _records_json(records), "seal": seal}
    write_group(group_folder(store, campaign.name), {ATTRIBUTE: fields})


def seal_digest(fingerprint: str, campaign: Campaign, records: Mapping[str, BlockRecord]) -> str:
    """What a seal vouches for: both manifests, the arrays, and every file's size and content."""
    fields = {
        "fingerprint": fingerprint,
        "campaign": campaign.name,
        **_campaign_json(campaign),
        "records": _records_json(records),
    }
    return digest_of(canonical_json(fields).encode())


def save_pending(store: Path, name: str, block: str, record: BlockRecord, fingerprint: str) -> None:
    """Write the done-record of a block."""
    folder = pending_folder(store, name)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"fingerprint": fingerprint, "campaign": name, "block": block, "files": _record_json(record)}
    write_file(folder / f"{block}.json", json.dumps(fields, indent=2).encode())


def load_pending(store: Path, name: str, block: str, fingerprint: str) -> BlockRecord | None:
    """The done-record of a block; None where there is none, or one of another store, campaign or block."""
    try:
        fields = json.loads((pending_folder(store, name) / f"{block}.json").read_bytes())
        identity = [fields["fingerprint"], fields["campaign"], fields["block"]]
        return _record(fields["files"]) if identity == [fingerprint, name, block] else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def load_records(store: Path, campaign: Campaign, grid: BlockGrid, fingerprint: str) -> dict[str, BlockRecord]:
    """The records of all finished blocks, from the seal or from the done-records, in the order of blocks."""
    if campaign.records is not None:
        return dict(campaign.records)
    arrays = {spec.name for spec in campaign.arrays}
    found = {block.id: load_pending(store, campaign.name, block.id, fingerprint) for block in grid.blocks()}
    return {block: record for block, record in found.items() if record is not None and record.keys() == arrays}


def _campaign_json(campaign: Campaign) -> dict[str, Any]:
    arrays = {spec.name: spec.to_json() for spec in campaign.arrays}
    return {"arrays": arrays, "manifest": dict(campaign.manifest)}


def _records_json(records: Mapping[str, BlockRecord]) -> dict[str, Any]:
    return {block: _record_json(record) for block, record in records.items()}


def _record_json(record: BlockRecord) -> dict[str, Any]:
    return {array: asdict(file) for array, file in record.items()}


def _record(files: Mapping[str, Any]) -> BlockRecord:
    return {array: FileRecord(size=file["size"], sha256=file["sha256"]) for array, file in files.items()}
