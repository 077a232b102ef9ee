"""Letting what a check found damaged be computed again: exactly the harmed blocks, and nothing else.

Of each harmed block the done-record goes first, then the campaign's group is replaced by one that names the block
as withdrawn, then the harmed files are removed: cut off between any two of these, the campaign never seems sealed
while files of it are missing, and running again completes it. Sound files stay; readers that are open go on with
the files that they have mapped, since files are unlinked, never changed. `fdbpl teach` or `fdbpl features` then
writes the blocks again, and sealing closes the campaign. Metadata are written anew where sound values give them.
One process repairs at a time, and no other writes.

What a report says of a file is checked again before anything is done, so an old report does no harm. Cost: the
named files are read once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.campaigns import Campaign, save_campaign
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.files import TEMPORARY, sync_folder, write_file
from fdbpl.cache_layout.findings import FOREIGN, NOT_UNIT, Finding, Verification
from fdbpl.cache_layout.records import RecordTable
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.cache_layout.store_files import StoreFiles
from fdbpl.cache_layout.verify_metadata import check_store_files
from fdbpl.cache_layout.verify_shard import check_shard, shard_of

RESTORE = "restore the file from a copy of the store, or make the store anew"
MOVE_AWAY = "nothing was done with it: move it away if nobody needs it"


@dataclass(frozen=True, kw_only=True)
class Left:
    """What could not be repaired, and what to do."""

    file: str
    what: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What `repair` did, or would do.

    Args:
        withdrawn: ids of the blocks to be written again, by campaign.
        removed: files of these blocks that were harmed.
        rewritten: metadata files that were written anew.
        left: what could not be repaired.
    """

    store: str
    withdrawn: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...]
    rewritten: tuple[str, ...]
    left: tuple[Left, ...]

    @property
    def is_complete(self) -> bool:
        """Whether the store is whole once the withdrawn blocks are written again and sealed."""
        return not self.left

    def to_json(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "withdrawn": {name: list(ids) for name, ids in self.withdrawn.items()},
            "removed": list(self.removed),
            "rewritten": list(self.rewritten),
            "left": [asdict(each) for each in self.left],
            "is_complete": self.is_complete,
        }


@dataclass(frozen=True, kw_only=True)
class _Harm:
    """The harmed blocks of a campaign, and their harmed files."""

    campaign: Campaign
    blocks: tuple[Block, ...]
    files: tuple[str, ...]


def repair(path: str | Path, verification: Verification, *, dry_run: bool = False) -> Repair:
    """Withdraw what a check found harmed, and write anew the metadata that can be.

    Args:
        path: of the store.
        verification: what `verify` found, now or earlier.
        dry_run: say what would be done, and do nothing.

    Raises:
        ValueError: a report on another store.
        CacheError: a store that cannot be opened, or of an older format.
    """
    store = open_store(path)
    store.require_current()
    if verification.fingerprint not in ("", store.manifest.fingerprint):
        raise ValueError(
            f"found a report on a store with fingerprint {verification.fingerprint}, expected one on {store.path}, "
            f"which has {store.manifest.fingerprint}"
        )
    files = check_store_files(store)
    rewritten = [finding.file for finding in files.findings if _can_be_rewritten(store, files, finding.file)]
    campaigns = files.campaigns.values() if files.blocks_are_right else ()
    harms = [harm for campaign in campaigns if (harm := _harm(store, campaign, verification)) is not None]
    if not dry_run:
        for name in rewritten:
            _write(store.path / name, files.regenerable[name])
        for harm in harms:
            _withdraw(store, harm)
    return Repair(
        store=str(store.path),
        withdrawn={harm.campaign.name: tuple(block.id for block in harm.blocks) for harm in harms},
        removed=tuple(name for harm in harms for name in harm.files),
        rewritten=tuple(rewritten),
        left=tuple(_left(store, files, verification)),
    )


def _harm(store: Store, campaign: Campaign, verification: Verification) -> _Harm | None:
    """What of a campaign is still as the report says; None where nothing is harmed."""
    try:
        records = store.records(campaign)
    except CacheError:
        return None
    blocks: dict[str, Block] = {}
    names: list[str] = []
    for finding in verification.findings:
        if finding.campaign != campaign.name or not finding.block:
            continue
        block = campaign.grid.block(*map(int, finding.block.split(".")))
        if not _is_still_harmed(store, campaign, records, block, finding):
            continue
        blocks[block.id] = block
        if finding.file not in names and (store.path / finding.file).is_file():
            names.append(finding.file)
    return _Harm(campaign=campaign, blocks=tuple(blocks.values()), files=tuple(names)) if blocks else None


def _is_still_harmed(store: Store, campaign: Campaign, records: RecordTable, block: Block, finding: Finding) -> bool:
    """Whether a file is harmed; one of a block that was withdrawn already is, until it is gone."""
    spec = next((spec for spec in campaign.arrays if spec.file_name(block) == finding.file), None)
    if spec is None:
        return False
    record = records.get(block)
    if record is None:
        return (store.path / finding.file).is_file()
    found = check_shard(
        store.path,
        shard_of(campaign, spec, block, record),
        unit_norm=finding.kind == NOT_UNIT,
        on_bytes=lambda num_bytes: None,
        holder_of=lambda sha256: (),
    )
    return bool(found)


def _withdraw(store: Store, harm: _Harm) -> None:
    campaign = harm.campaign
    for block in harm.blocks:
        store.pending(campaign.name).withdraw(block)
    if store.pending(campaign.name).folder.is_dir():
        sync_folder(store.pending(campaign.name).folder)
    sealed = campaign.seals[-1].grid if campaign.seals else None
    covered = {block.id for block in sealed.blocks()} if sealed is not None else set()
    withdrawn = set(campaign.withdrawn) | {block.id for block in harm.blocks if block.id in covered}
    if withdrawn != set(campaign.withdrawn):
        order = [block.id for block in campaign.grid.blocks() if block.id in withdrawn]
        save_campaign(store.path, replace(campaign, withdrawn=tuple(order)))
    for name in harm.files:
        _remove(store.path / name)


def _left(store: Store, files: StoreFiles, verification: Verification) -> Iterator[Left]:
    """What nothing here can mend, as it is now."""
    for finding in files.findings:
        if not _can_be_rewritten(store, files, finding.file):
            yield Left(file=finding.file, what=finding.what, advice=RESTORE)
    for finding in verification.findings:
        path = store.path / finding.file
        if (finding.kind == FOREIGN and path.exists()) or (finding.block and path.is_dir()):
            yield Left(file=finding.file, what=finding.what, advice=MOVE_AWAY)


def _can_be_rewritten(store: Store, files: StoreFiles, name: str) -> bool:
    return name in files.regenerable and not (store.path / name).is_dir()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f"{TEMPORARY}*"):  # of a repair that was killed; sealing does not look here
        if leftover.is_file():
            leftover.unlink()
    write_file(path, content)


def _remove(path: Path) -> None:
    """Remove a file for good, and its name from the disk; nothing where it is gone."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)
