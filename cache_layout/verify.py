"""A full check of a store: every byte of every file, and the sense of what they say. Nothing wrong stays unseen.

Shards are compared with their records (presence, size, sha256) and their values are looked at; all other files
are compared with what their values give; names that do not belong are told. Reads only. Memory: a piece of 1 MB
for each job, and the tables of records. Cost: all files are read once; a check that is cut off goes on where it
was. Threads share the work, since reading, sha256 and numpy all run beside one another. Rate of one thread, of a
store that is two thirds unit rows: three quarters of that of sha256, nine tenths without the norms; two on two
processors go as fast as the disk or one sha256 (`tests/cache_layout/measure_verify.py`).
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from fdbpl.cache_layout.array_spec import RESERVED
from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.documents import METADATA
from fdbpl.cache_layout.errors import CacheError, UnknownArray
from fdbpl.cache_layout.findings import INCOMPLETE, Finding, Verification
from fdbpl.cache_layout.findings import METADATA as METADATA_KIND
from fdbpl.cache_layout.records import RecordTable
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.cache_layout.store_files import StoreFiles, text_of
from fdbpl.cache_layout.verify_metadata import check_store_files
from fdbpl.cache_layout.verify_names import other_names
from fdbpl.cache_layout.verify_shard import Shard, Stopped, check_shard, shard_of
from fdbpl.cache_layout.verify_state import VerifyState

OnProgress = Callable[[int, int], None]
_SMALL_BYTES = 16 << 20  # less is not worth a thread
_SECONDS_BETWEEN_CALLS = 0.1


def verify(
    path: str | Path,
    *,
    campaigns: Sequence[str] | None = None,
    jobs: int | None = None,
    unit_norm: bool = True,
    fresh: bool = False,
    keep_state: bool = True,
    on_progress: OnProgress | None = None,
) -> Verification:
    """Check a store.

    Args:
        path: of the store, of any format version that can be read.
        campaigns: whose shards are read, all where None; the other files are checked in any case.
        jobs: files that are read at once; as many as there are processors where None.
        unit_norm: whether rows of arrays named `.../embedding` must have norm 1, within the rounding of their type.
        fresh: read every file, also what an earlier check that was cut off has found good.
        keep_state: keep what was found good in `<store>.verify.jsonl` beside the store until all is done.
        on_progress: called with (bytes done, bytes in all), by this thread, now and then.

    Returns:
        What was found. Damage of any kind is a finding, not an error.

    Raises:
        CacheError: nothing at `path` that was a store.
        UnknownArray: a campaign that the store does not have.
    """
    path = Path(path).absolute()
    try:
        store = open_store(path)
    except (CacheError, OSError) as error:
        if not path.is_dir() or not ((path / METADATA).exists() or (path / "records").is_dir()):
            raise
        found = Finding(kind=METADATA_KIND, file=METADATA, what=f"{text_of(error)}; nothing else could be checked")
        return Verification(store=str(path), fingerprint="", findings=(found,))
    files = check_store_files(store)
    work = _work(store, files, campaigns)
    state_path = path.with_name(f"{path.name}.verify.jsonl") if keep_state else None
    with VerifyState(state_path, fresh=fresh, unit_norm=unit_norm) as state:
        run = _Run(store, work, state, unit_norm, on_progress or (lambda done, total: None))
        run.check(jobs or len(os.sched_getaffinity(0)))
        state.remove()
    strange, notes = other_names(path, files.files | work.files, files.folders, work.leftovers)
    if files.lost_campaigns:  # whose arrays these may be
        strange = [finding for finding in strange if finding.file.split("/")[0] in RESERVED]
    findings = [*files.findings, *work.findings, *run.findings, *strange]
    return Verification(
        store=str(path),
        fingerprint=store.manifest.fingerprint,
        files=work.num_files,
        bytes=work.num_bytes,
        bytes_read=run.bytes_read,
        views=work.num_views,
        findings=tuple(with_paths(store, files.campaigns, findings)),
        notes=(*notes, *([state.problem] if state.problem else [])),
    )


@dataclass(kw_only=True)
class _Work:
    """The shards that have a record, and what was found on the way to them."""

    tables: list[tuple[Campaign, RecordTable]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    leftovers: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    checked: list[tuple[Campaign, RecordTable, list[Block]]] = field(default_factory=list)
    num_files: int = 0
    num_bytes: int = 0
    num_views: int = 0

    def shards(self) -> Iterator[Shard]:
        """One after the other: the records of all at once would fill memory."""
        for campaign, table, blocks in self.checked:
            for block in blocks:
                record = table.get(block) or {}
                for spec in campaign.arrays:
                    yield shard_of(campaign, spec, block, record)

    @cached_property
    def holders(self) -> Mapping[str, list[str]]:
        """The files by their recorded sha256."""
        found: dict[str, list[str]] = defaultdict(list)
        for campaign, table in self.tables:
            for block in campaign.grid.blocks():
                for name, record in (table.get(block) or {}).items():
                    spec = next(spec for spec in campaign.arrays if spec.name == name)
                    found[record.sha256].append(spec.file_name(block))
        return found


def _work(store: Store, files: StoreFiles, campaigns: Sequence[str] | None) -> _Work:
    for name in campaigns or ():
        if name not in files.campaigns and name not in files.lost_campaigns:
            raise UnknownArray(str(store.path), "campaign", name, sorted(files.campaigns))
    work = _Work()
    if not files.blocks_are_right:
        return work
    for name, campaign in files.campaigns.items():
        is_asked_for = campaigns is None or name in campaigns
        names = [spec.file_name(block) for block in campaign.grid.blocks() for spec in campaign.arrays]
        try:
            table = store.records(campaign)
        except (CacheError, OSError) as error:
            # The table's own fault is among the findings already; that the shards were not read is said as well.
            work.leftovers.update(names)
            what = f"{text_of(error)}; its {len(names)} files could not be checked"
            work.findings.append(Finding(kind=METADATA_KIND, file=f"records/{name}", what=what, campaign=name))
            continue
        blocks = [block for block in campaign.grid.blocks() if block in table]
        recorded = {spec.file_name(block) for block in blocks for spec in campaign.arrays}
        work.files |= recorded
        work.leftovers.update(name for name in names if name not in recorded)
        work.tables.append((campaign, table))
        if not is_asked_for:
            continue
        work.checked.append((campaign, table, blocks))
        work.num_files += len(recorded)
        work.num_bytes += int(table.size_GJA[table.size_GJA[..., 0] >= 0].sum())
        work.num_views += sum(block.num_views for block in blocks)
        work.findings += _incomplete(campaign, len(blocks))
    return work


def _incomplete(campaign: Campaign, num_present: int) -> list[Finding]:
    if campaign.is_sealed:
        return []
    total = campaign.grid.num_blocks
    missing = total - num_present
    what = f"not sealed: {missing} of {total} blocks missing"
    if campaign.withdrawn:
        what += f", {len(campaign.withdrawn)} were found damaged and withdrawn"
    elif not missing:
        what = "not sealed: every block is written, `fdbpl cache seal` closes it"
    return [Finding(kind=INCOMPLETE, file=f"records/{campaign.name}", what=what, campaign=campaign.name)]


class _Run:
    """Reads the shards, by one thread or several, and collects what they find in the order of the files."""

    def __init__(self, store: Store, work: _Work, state: VerifyState, unit_norm: bool, on_progress: OnProgress) -> None:
        self._store, self._work, self._state, self._unit_norm = store, work, state, unit_norm
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._skipped = 0
        self._by_file: dict[int, list[Finding]] = {}
        self.bytes_read = 0

    @property
    def findings(self) -> list[Finding]:
        return [finding for number in sorted(self._by_file) for finding in self._by_file[number]]

    def check(self, jobs: int) -> None:
        if jobs == 1 or self._work.num_bytes < _SMALL_BYTES:
            for number, shard in self._open_shards():
                self._done(number, shard, self._check(shard, self._counted_here))
            return
        running: dict[Future[list[Finding]], tuple[int, Shard]] = {}
        with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as pool:
            try:
                for number, shard in self._open_shards():
                    running[pool.submit(self._check, shard, self._counted)] = (number, shard)
                    while len(running) >= 2 * jobs:
                        self._collect(running)
                while running:
                    self._collect(running)
            except BaseException:
                self._stop.set()
                raise

    def _open_shards(self) -> Iterator[tuple[int, Shard]]:
        for number, shard in enumerate(self._work.shards()):
            if self._state.is_good(self._store.path, shard):
                self._skipped += shard.record.size
            else:
                yield number, shard

    def _collect(self, running: dict[Future[list[Finding]], tuple[int, Shard]]) -> None:
        done, _ = wait(running, timeout=_SECONDS_BETWEEN_CALLS, return_when=FIRST_COMPLETED)
        for future in done:
            self._done(*running.pop(future), future.result())
        self._report()

    def _done(self, number: int, shard: Shard, findings: list[Finding]) -> None:
        if findings:
            self._by_file[number] = findings
        else:
            self._state.add(self._store.path, shard)

    def _check(self, shard: Shard, on_bytes: Callable[[int], None]) -> list[Finding]:
        return check_shard(
            self._store.path, shard, unit_norm=self._unit_norm, on_bytes=on_bytes, holder_of=self._holders
        )

    def _holders(self, sha256: str) -> Sequence[str]:
        with self._lock:
            return self._work.holders.get(sha256, [])

    def _counted(self, num_bytes: int) -> None:
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self.bytes_read += num_bytes

    def _counted_here(self, num_bytes: int) -> None:
        self.bytes_read += num_bytes
        self._report()

    def _report(self) -> None:
        done = self._skipped + self.bytes_read
        self._on_progress(min(done, self._work.num_bytes), self._work.num_bytes)


def with_paths(store: Store, campaigns: Mapping[str, Campaign], findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings with the paths of the first few images that they harm, where the image index can be read."""
    known: dict[str, tuple[str, ...]] = {}
    for finding in findings:
        if not finding.images:
            yield finding
            continue
        if finding.campaign not in known:
            try:
                known[finding.campaign] = store.images_of(campaigns[finding.campaign].grid).paths
            except (CacheError, OSError):
                known[finding.campaign] = ()
        first, last = finding.images
        yield replace(finding, paths=known[finding.campaign][first : last + 1][:3])
