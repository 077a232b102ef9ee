"""Sealing: every block of a campaign is checked against its done-record, then the campaign is closed.

Sealing reads every file once. Its steps (check, sweep leftovers, write records and seal in one replaced
file, remove the done-records) may be cut off between any two and run again. Where a file is not as
recorded, the done-record of its block is withdrawn, so that the next pass writes the block again. Cost:
sha256 of the store, about 1 GB/s.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.campaigns import BlockRecord, Campaign, group_folder, pending_folder, save_seal
from fdbpl.cache_layout.errors import DamagedFile, MissingBlocks
from fdbpl.cache_layout.files import TEMPORARY, record_of, sync_folder
from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.cache_layout.store import Store, open_store


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What was sealed; `digest` is a function of the manifest and of every file's content."""

    campaigns: tuple[str, ...]
    num_blocks: int
    num_files: int
    num_bytes: int
    digest: str


def seal(path: str | Path, campaign: str | None = None) -> Seal:
    """Check and seal one campaign, or all. A campaign that is sealed is checked again.

    Raises:
        MissingBlocks: blocks without a record, files that are not there; each is named.
        DamagedFile: files that are not as recorded; each is named, missing ones as well.
        UnknownArray: no such campaign.
    """
    store = open_store(path)
    names = (campaign,) if campaign is not None else tuple(store.campaigns)
    records = {name: _checked_records(store, name) for name in names}
    for name in names:
        _close(store, store.campaign(name), records[name])
    _sweep_folder(store.path.parent, f".{store.path.name}{TEMPORARY}")
    files = [file for blocks in records.values() for record in blocks.values() for file in record.values()]
    digests = {name: store.campaign(name).seal_digest for name in names}
    return Seal(
        campaigns=names,
        num_blocks=sum(len(blocks) for blocks in records.values()),
        num_files=len(files),
        num_bytes=sum(file.size for file in files),
        digest=digest_of(canonical_json(digests).encode()),
    )


def _checked_records(store: Store, name: str) -> Mapping[str, BlockRecord]:
    campaign = store.campaign(name)
    records = store.records(name)
    missing: list[str] = []
    problems: list[str] = []
    for block in store.grid.blocks():
        if block.id not in records:
            missing.append(f"campaign {name}, block {block.id}: no done-record")
            continue
        found = list(_problems(store, campaign, block, records[block.id]))
        missing += [text for text, is_missing in found if is_missing]
        problems += [text for text, is_missing in found if not is_missing]
        if found and not campaign.is_sealed:
            (pending_folder(store.path, name) / f"{block.id}.json").unlink(missing_ok=True)
    if problems:
        raise DamagedFile(str(store.path), problems + missing)
    if missing:
        raise MissingBlocks(str(store.path), missing)
    return records


def _problems(store: Store, campaign: Campaign, block: Block, record: BlockRecord) -> Iterator[tuple[str, bool]]:
    """What is wrong with each file of a block, and whether it is that the file is missing."""
    for spec in campaign.arrays:
        name = spec.file_name(block)
        try:
            found = record_of(store.path / name)
        except FileNotFoundError:
            yield f"{name}: missing", True
            continue
        expected = record[spec.name]
        if found.size != expected.size:
            yield f"{name}: found {found.size} bytes, expected {expected.size}", False
        elif found != expected:
            yield f"{name}: found sha256 {found.sha256}, expected {expected.sha256}", False


def _close(store: Store, campaign: Campaign, records: Mapping[str, BlockRecord]) -> None:
    folders = [store.path / spec.name for spec in campaign.arrays]
    for folder in (*folders, group_folder(store.path, campaign.name)):
        _sweep_folder(folder, TEMPORARY)
    if not campaign.is_sealed:
        save_seal(store.path, campaign, records, store.manifest.fingerprint)
    _remove_pending(store.path, campaign.name)


def _remove_pending(store: Path, name: str) -> None:
    """Remove a campaign's done-records, and the folders above that are empty then."""
    folder = pending_folder(store, name)
    _sweep_folder(folder, TEMPORARY)
    for record in folder.glob("*.json"):
        record.unlink(missing_ok=True)
    for parent in (folder, *folder.parents):
        if parent == store or not _remove_empty(parent):
            break
    sync_folder(store)


def _remove_empty(folder: Path) -> bool:
    """Remove a folder; False where it holds something, True also where it is gone already."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _sweep_folder(folder: Path, prefix: str) -> None:
    """Remove what killed writers left: names in `folder` that start with `prefix`."""
    for leftover in folder.glob(f"{prefix}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
