"""Compressed archives of sealed stores: for keeping and sending, not for training.

An archive is a Zarr v3 group with the store's tree and metadata, whose campaigns' arrays are compressed
(`archive_arrays`); its root has the attribute `fdbpl_archive` in place of the store's. A shard's bytes are a
function of its rows, so the archive holds rows only, and importing makes every file again and compares it
with its record: the imported store is the exported one, bit for bit, or there is none. Both appear whole.
Cost: reads all, holds a shard of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fdbpl.cache_layout.archive_arrays import LEVEL, ArchiveArray, archive_document, compressed_share
from fdbpl.cache_layout.copy_files import OnProgress, put_bytes, put_metadata, put_tables
from fdbpl.cache_layout.disk_space import Plan, bytes_on_disk, free_bytes, full_disk_told, require_space
from fdbpl.cache_layout.documents import METADATA, document_bytes, group_document, put_document, read_attributes
from fdbpl.cache_layout.errors import CacheError, MissingBlocks
from fdbpl.cache_layout.files import staged_file
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.sealed_part import SealedPart, ShardFile, sealed_part
from fdbpl.cache_layout.shard import ShardEncoder
from fdbpl.cache_layout.shard_rows import checked_rows
from fdbpl.cache_layout.store import ARCHIVE, ATTRIBUTE, FORMAT_VERSION, Store, open_store
from fdbpl.cache_layout.whole_folder import free_place, sweep_dead, whole_folder

ARCHIVE_VERSION = 1
_EXPORT_SHARE = 0.9  # of an estimate, from which on too little room is sure to be too little


def export_archive(
    source: str | Path,
    out: str | Path,
    *,
    campaigns: Sequence[str] | None = None,
    level: int = LEVEL,
    on_progress: OnProgress | None = None,
) -> Path:
    """Write what is sealed of a store as a compressed archive; its path.

    Args:
        out: path of the archive, where nothing is yet.
        campaigns: all sealed ones where None.
        level: of compression, 1 to 9.
        on_progress: called with (bytes read, bytes in all).

    Raises:
        ValueError: `out` is there or inside the store, another level.
        CacheError: no store, one of an older format, a campaign that is not sealed, a file that is not as
            recorded, or that another program wrote (it could not be made again from its rows).
        NoSpace: the disk is too small or full; nothing is left there.
    """
    part, out = _exported_part(source, out, campaigns, level)
    part.check_metadata()
    estimate = _estimate(part, level)
    require_space(out.parent, int(_EXPORT_SHARE * estimate))
    sweep_dead(out)
    with full_disk_told(out.parent, estimate), whole_folder(out) as building:
        _put_archive_metadata(part, building, level)
        total, done = part.num_bytes, 0
        for shard, array in _with_arrays(part, building, "w"):
            array.write(shard, checked_rows(part.store.path, shard))
            done += shard.record.size
            if on_progress is not None:
                on_progress(done, total)
    return out


def import_archive(archive: str | Path, target: str | Path, *, on_progress: OnProgress | None = None) -> Path:
    """Make the store that was exported, and compare every file with its record; the store's path.

    Raises:
        ValueError: `target` is there, or inside the archive.
        CacheError: no archive, one of another version, a file that does not become what was recorded: named.
        NoSpace: the disk is too small or full; nothing is left there.
    """
    part, target = _imported_part(archive, target)
    needed = part.disk_bytes()
    require_space(target.parent, needed)
    sweep_dead(target)
    with full_disk_told(target.parent, needed), whole_folder(target) as building:
        put_metadata(part, building)
        total, done = part.num_bytes, 0
        for shard, array in _with_arrays(part, part.store.path, "r"):
            _rebuild(array.read(shard), shard, building, part.store.path)
            done += shard.record.size
            if on_progress is not None:
                on_progress(done, total)
        sealed_part(open_store(building)).check_metadata()
    return target


def plan_export(
    source: str | Path, out: str | Path, *, campaigns: Sequence[str] | None = None, level: int = LEVEL
) -> Plan:
    """What `export_archive` would write, estimated from one plane of each array. Errors as of that."""
    part, out = _exported_part(source, out, campaigns, level)
    free = free_bytes(out.parent)
    return Plan(
        target=out, num_files=part.num_files, num_bytes=_estimate(part, level), free_bytes=free, is_estimate=True
    )


def plan_import(archive: str | Path, target: str | Path) -> Plan:
    """What `import_archive` would write. Errors as of that."""
    part, target = _imported_part(archive, target)
    return Plan(
        target=target, num_files=part.num_files, num_bytes=part.disk_bytes(), free_bytes=free_bytes(target.parent)
    )


def open_archive(path: str | Path) -> Store:
    """The store that an archive holds, for its metadata: its shards cannot be read as a store's.

    Raises:
        CacheError: no archive, one of another version, or with a changed manifest.
    """
    path = Path(path).absolute()
    try:
        fields = read_attributes(path).get(ARCHIVE)
    except (FileNotFoundError, NotADirectoryError):
        fields = None
    if fields is None:
        raise CacheError(f"no archive at {path}: `fdbpl cache export STORE {path}` makes one")
    try:
        version, root = fields["format_version"], fields[ATTRIBUTE]
        if version != ARCHIVE_VERSION or root["format_version"] != FORMAT_VERSION:
            raise CacheError(
                f"the archive at {path}: found version {version} of a store of version {root['format_version']}, "
                f"expected {ARCHIVE_VERSION} and {FORMAT_VERSION}: import it with the fdbpl that wrote it"
            )
        manifest = Manifest(root["manifest"])
        store = Store(path=path, version=FORMAT_VERSION, manifest=manifest, blocks_json=dict(root["blocks"]))
        expected = root["fingerprint"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CacheError(f"{path}/{METADATA}: found no archive of this format ({error!r}): restore the file") from error
    if manifest.fingerprint != expected:
        raise CacheError(
            f"the archive at {path}: the manifest has fingerprint {manifest.fingerprint}, expected {expected}; it was "
            "changed: restore it"
        )
    return store


def _rebuild(rows_NS: npt.NDArray[Any], shard: ShardFile, building: Path, archive: Path) -> None:
    """Make a shard file of its rows; CacheError where it is not the recorded one."""
    folder = (building / shard.name).parent
    folder.mkdir(parents=True, exist_ok=True)
    with staged_file(folder, ShardEncoder(rows_NS, shard.spec, shard.grid)) as (staged, found):
        if problem := shard.problem(found.size, found.sha256):
            raise CacheError(
                f"the archive at {archive} is damaged: made of its rows, {problem}; restore the file, or export the "
                "store again"
            )
        staged.rename(building / shard.name)


def _put_archive_metadata(part: SealedPart, building: Path, level: int) -> None:
    for name, content in part.documents():
        put_bytes(building / name, content)
    put_document(building, _root(part.store))
    for grid, spec in part.arrays():
        document = archive_document(part.array_document(spec, grid), spec, grid, level)
        put_bytes(building / spec.name / METADATA, document_bytes(document))
    put_tables(part, building)


def _root(store: Store) -> Mapping[str, Any]:
    original = store.document()["attributes"][ATTRIBUTE]
    return group_document({ARCHIVE: {"format_version": ARCHIVE_VERSION, ATTRIBUTE: original}})


def _with_arrays(part: SealedPart, archive: Path, mode: str) -> Iterator[tuple[ShardFile, ArchiveArray]]:
    """Every shard, with the array of the archive that its rows are in."""
    opened: ArchiveArray | None = None
    name = ""
    for shard in part.shards():
        if opened is None or shard.spec.name != name:
            opened, name = ArchiveArray(archive, shard.spec, mode), shard.spec.name
        yield shard, opened


def _exported_part(
    source: str | Path, out: str | Path, campaigns: Sequence[str] | None, level: int
) -> tuple[SealedPart, Path]:
    if not 1 <= level <= 9:
        raise ValueError(f"level: found {level}, expected 1 to 9")
    store = open_store(source)
    if store.version != FORMAT_VERSION:
        raise CacheError(
            f"the store at {store.path}: found format version {store.version}, expected {FORMAT_VERSION} for an "
            "archive: keep it as it is, or make it anew"
        )
    return sealed_part(store, campaigns), free_place(out, store.path)


def _imported_part(archive: str | Path, target: str | Path) -> tuple[SealedPart, Path]:
    store = open_archive(archive)
    return sealed_part(store), free_place(target, store.path)


def _estimate(part: SealedPart, level: int) -> int:
    shares: dict[str, float] = {}
    total = float(part.metadata_bytes())
    for shard in part.shards():
        if shard.spec.name not in shares:
            try:
                shares[shard.spec.name] = compressed_share(part.store.path, shard, level)
            except FileNotFoundError:
                raise MissingBlocks(str(part.store.path), [f"{shard.name}: missing"]) from None
        total += bytes_on_disk(int(shares[shard.spec.name] * shard.record.size))
    return int(total)
