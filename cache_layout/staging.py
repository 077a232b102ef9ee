"""A copy of a sealed store on a node's own disk, or in its memory, made once for all processes of the node.

The copy is a store of its own, named `<store>-<16 hex>` after what it holds: of a store that has grown, or of
another one of this name, another copy is made. It appears whole: copied under a temporary name, every shard
compared with its sha256 on the way, the metadata opened, flushed, renamed. One process copies, the others wait
for it; where it dies, the next one removes what it left and copies. Cost: every byte is read and written once.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from fdbpl.cache_layout.copier_lock import one_at_a_time
from fdbpl.cache_layout.copy_files import OnProgress, copy_shards, put_metadata
from fdbpl.cache_layout.disk_space import Plan, free_bytes, full_disk_told, require_space
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.files import temporary_name
from fdbpl.cache_layout.sealed_part import SealedPart, sealed_part
from fdbpl.cache_layout.store import file_size, open_store
from fdbpl.cache_layout.whole_folder import leftovers, whole_folder

_IDENTITY_DIGITS = 16
log = logging.getLogger(__name__)


def stage_store(
    source: str | Path,
    folder: str | Path,
    *,
    campaigns: Sequence[str] | None = None,
    on_progress: OnProgress | None = None,
    on_wait: Callable[[str], None] | None = None,
    wait_seconds: float = 3600.0,
) -> Path:
    """Copy what is sealed of a store into a folder; the copy's path, at once where it is there already.

    Args:
        folder: on a local file system; made where it is not there.
        campaigns: that are copied; all sealed ones where None.
        on_progress: called with (bytes done, bytes in all), by the process that copies.
        on_wait: told, in a line, for whom this process waits.
        wait_seconds: how long for a process that copies.

    Raises:
        ValueError: a folder inside the store.
        CacheError: no store, a campaign that is unknown or not sealed, a file that is not as recorded (named),
            another copier that takes longer than `wait_seconds`.
        NoSpace: the disk is too small, or was full in between; nothing is left there.
    """
    part, target = _part_and_target(source, folder, campaigns)
    if _is_whole(target, part):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.lock"
    with one_at_a_time(lock, wait_seconds=wait_seconds, on_wait=on_wait):
        if not _is_whole(target, part):
            _clear(target)
            _copy(part, target, on_progress)
    return target


def plan_staging(source: str | Path, folder: str | Path, *, campaigns: Sequence[str] | None = None) -> Plan:
    """What `stage_store` would write. Errors as of that, but for those of the disk."""
    part, target = _part_and_target(source, folder, campaigns)
    return Plan(
        target=target,
        num_files=part.num_files,
        num_bytes=part.disk_bytes(),
        free_bytes=free_bytes(target.parent),
        is_present=_is_whole(target, part),
    )


def remove_copy(path: str | Path) -> None:
    """Remove a copy that `stage_store` made; readers that have mapped its files may go on.

    Raises:
        ValueError: anything else than such a copy: its name must say what it holds.
    """
    path = Path(path).absolute()
    try:
        part = sealed_part(open_store(path))
        is_copy = not path.is_symlink() and path.name.endswith(f"-{part.identity[:_IDENTITY_DIGITS]}")
    except CacheError as error:
        raise ValueError(
            f"{path}: found no whole copy of a store ({error}), expected one: nothing is removed"
        ) from error
    if not is_copy:
        raise ValueError(
            f"{path}: found a store that is no copy made by `fdbpl cache copy-to` (the name of one ends with the "
            "digest of what it holds): nothing is removed"
        )
    _remove(path)


def _part_and_target(
    source: str | Path, folder: str | Path, campaigns: Sequence[str] | None
) -> tuple[SealedPart, Path]:
    store = open_store(source)
    origin, destination = store.path.resolve(), Path(folder).resolve()
    if destination.is_relative_to(origin):
        raise ValueError(f"folder: found {folder}, inside the store at {origin}, expected one outside of it")
    part = sealed_part(store, campaigns)
    return part, destination / f"{origin.name}-{part.identity[:_IDENTITY_DIGITS]}"


def _is_whole(target: Path, part: SealedPart) -> bool:
    """Whether the copy is there: the same seals, and every file with its size."""
    if not target.is_dir():
        return False
    try:
        found = sealed_part(open_store(target))
        return found.identity == part.identity and all(
            file_size(target / shard.name) == shard.record.size for shard in part.shards()
        )
    except (CacheError, OSError) as error:
        log.warning(f"{target}: not whole, made anew: {error}")
        return False


def _copy(part: SealedPart, target: Path, on_progress: OnProgress | None) -> None:
    part.check_metadata()
    needed = part.disk_bytes()
    require_space(target.parent, needed)
    with full_disk_told(target.parent, needed), whole_folder(target) as building:
        put_metadata(part, building)
        copy_shards(part, building, on_progress)
        copy = sealed_part(open_store(building))
        copy.check_metadata()
        if copy.identity != part.identity:
            raise CacheError(f"{part.store.path}: changed while it was copied to {target.parent}; copy it again")


def _clear(target: Path) -> None:
    """Remove what a copier that died left, and a copy that has lost files (some systems clean folders like /tmp)."""
    for leftover in leftovers(target):
        shutil.rmtree(leftover)
    if target.exists():
        _remove(target)


def _remove(path: Path) -> None:
    """Take the name away first, so that nobody opens what is half gone."""
    going = path.parent / f".{path.name}{temporary_name()}"
    path.rename(going)
    shutil.rmtree(going)
