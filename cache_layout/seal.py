"""Sealing: every new block of a campaign is checked against its done-record, then the campaign is closed.

Sealing reads every file once that no earlier seal covers. Its steps (check, sweep leftovers, write the table
of records, widen the arrays' metadata, replace the campaign's group, remove the done-records) may be cut off
between any two and run again; the group's replacement is the moment of sealing. Where a file is not as
recorded, the done-record of its block is withdrawn, so that the next pass writes the block again. Cost:
sha256 of the new files, about 1 GB/s.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.build import install_folder, widen_array
from fdbpl.cache_layout.campaigns import (
    Campaign,
    SealEntry,
    group_folder,
    pending_folder,
    save_campaign,
    seal_digest,
)
from fdbpl.cache_layout.documents import group_document, put_document
from fdbpl.cache_layout.errors import DamagedFile, MissingBlocks
from fdbpl.cache_layout.files import TEMPORARY, record_of, sync_folder
from fdbpl.cache_layout.flat_array import put_flat
from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.cache_layout.records import RecordTable, ShardRecord, columns_digest
from fdbpl.cache_layout.store import Store, open_store


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What is sealed; `digest` is a function of the manifest and of every file's content."""

    campaigns: tuple[str, ...]
    num_blocks: int
    num_files: int
    num_bytes: int
    digest: str


def seal(path: str | Path, campaign: str | None = None) -> Seal:
    """Check and seal one campaign, or all. What is sealed already is left as it is (`verify` checks it).

    Raises:
        MissingBlocks: blocks without a record, files that are not there; each is named.
        DamagedFile: files that are not as recorded; each is named, missing ones as well.
        UnknownArray: no such campaign.
        CacheError: a store of an older format.
    """
    store = open_store(path)
    store.require_current()
    names = (campaign,) if campaign is not None else tuple(store.campaigns)
    open_ones = {name: found for name in names if not (found := store.campaign(name)).is_sealed}
    records = {name: _checked_records(store, found) for name, found in open_ones.items()}
    for name in names:
        if name in open_ones:
            save_campaign(store.path, _closed(store, open_ones[name], records[name]))
        _tidy(store, store.campaign(name))
    _sweep_folder(store.path.parent, f".{store.path.name}{TEMPORARY}")
    seals = [entry for name in names for entry in store.campaign(name).seals]
    digests = {name: store.campaign(name).seal_digest for name in names}
    return Seal(
        campaigns=names,
        num_blocks=sum(store.campaign(name).grid.num_blocks for name in names),
        num_files=sum(entry.num_files for entry in seals),
        num_bytes=sum(entry.num_bytes for entry in seals),
        digest=digest_of(canonical_json(digests).encode()),
    )


def file_problems(
    store: Store, campaign: Campaign, block: Block, record: Mapping[str, ShardRecord]
) -> Iterator[tuple[str, bool]]:
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
        elif found.sha256 != expected.sha256:
            yield f"{name}: found sha256 {found.sha256}, expected {expected.sha256}", False


def _checked_records(store: Store, campaign: Campaign) -> RecordTable:
    records = store.records(campaign)
    missing: list[str] = []
    problems: list[str] = []
    for block in campaign.grid.blocks():
        if campaign.vouches_for(block):
            continue
        record = records.get(block)
        if record is None:
            missing.append(f"campaign {campaign.name}, block {block.id}: no done-record")
            continue
        found = list(file_problems(store, campaign, block, record))
        missing += [text for text, is_missing in found if is_missing]
        problems += [text for text, is_missing in found if not is_missing]
        if found:
            store.pending(campaign.name).withdraw(block)
    if problems:
        raise DamagedFile(str(store.path), problems + missing)
    if missing:
        raise MissingBlocks(str(store.path), missing)
    return records


def _closed(store: Store, campaign: Campaign, records: RecordTable) -> Campaign:
    """The campaign with its new seal, whose table and metadata are in place when this returns."""
    columns = records.columns(campaign.grid.places(beyond=campaign.sealed_grid))
    digest = columns_digest(columns)
    # A campaign that was repaired gets one new seal over all.
    kept = campaign.seals if not campaign.withdrawn else ()
    entry = SealEntry(
        grid=campaign.grid,
        table=f"_seal-{len(kept)}-{digest.removeprefix('sha256:')[:12]}",
        table_digest=digest,
        images=store.image_digests(len(campaign.grid.image_counts)),
        num_files=int(columns["size"].size),
        num_bytes=int(columns["size"].sum()),
    )
    previous = kept[-1].digest if kept else None
    entry = replace(entry, digest=seal_digest(store.manifest.fingerprint, campaign, entry, previous))
    folder = f"records/{campaign.name}/{entry.table}"
    staging = pending_folder(store.path, campaign.name)
    install_folder(store.path, folder, staging, lambda at: _put_table(at, columns))
    for spec in campaign.arrays:
        widen_array(store.path, spec, campaign.grid)
    return replace(campaign, seals=(*kept, entry), withdrawn=())


def _put_table(folder: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    put_document(folder, group_document())
    for name, values in columns.items():
        put_flat(folder / name, values)


def _tidy(store: Store, campaign: Campaign) -> None:
    """Remove what killed writers left, tables that no seal names, and the done-records of a sealed campaign."""
    group = group_folder(store.path, campaign.name)
    for folder in (*(store.path / spec.name for spec in campaign.arrays), group):
        _sweep_folder(folder, TEMPORARY)
    named = {entry.table for entry in campaign.seals}
    for table in group.glob("_seal-*"):
        if table.name not in named:
            shutil.rmtree(table)
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
