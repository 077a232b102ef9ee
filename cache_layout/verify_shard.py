"""Checking one shard file: that it is there, that its bytes are the recorded ones, and that its values make sense.

The file is read once, in pieces of about 1 MB: the sha256 and the values are looked at in the same bytes. Only a
file whose sha256 is not the recorded one is read again, to tell which planes are harmed. Sound bytes are not
summed by plane as well: the sha256 covers each bit, and of the planes' checksums it is compared that those in the
file are those in the records. Memory: one piece (a plane, where values are not fine). Cost: that of sha256, and
what `verify_values` adds.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import google_crc32c
import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.findings import DAMAGED, MISSING, NOT_FINITE, NOT_UNIT, SIZE, SWAPPED, Finding, named
from fdbpl.cache_layout.records import BlockRecord, ShardRecord
from fdbpl.cache_layout.shard import CRC_BYTES, decode_index, index_bytes, plane_stride
from fdbpl.cache_layout.verify_values import RowCheck, bad_rows, row_check

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file to be checked, and what it must be."""

    campaign: str
    spec: ArraySpec
    grid: BlockGrid
    block: Block
    record: ShardRecord

    @property
    def file(self) -> str:
        return self.spec.file_name(self.block)

    @property
    def plane_bytes(self) -> int:
        return self.grid.images_per_block * self.spec.row_bytes

    @property
    def live_bytes(self) -> int:
        """Of a plane: the rows of images that exist."""
        return len(self.block.images) * self.spec.row_bytes

    def finding(self, kind: str, what: str, seeds: Sequence[int], rows: Sequence[int] | None = None) -> Finding:
        """A finding that harms these seeds, and of the block's images those in `rows` (all where None)."""
        images = self.block.images if rows is None else [self.block.images[row] for row in rows]
        return Finding(
            kind=kind,
            file=self.file,
            what=what,
            campaign=self.campaign,
            block=self.block.id,
            views=len(self.block.images) * len(seeds) if rows is None else len(rows),
            seeds=tuple(seeds),
            images=(images[0], images[-1]) if seeds else (),
        )


def shard_of(campaign: Campaign, spec: ArraySpec, block: Block, record: BlockRecord) -> Shard:
    """The file of one array and block of a campaign."""
    return Shard(campaign=campaign.name, spec=spec, grid=campaign.grid, block=block, record=record[spec.name])


class Stopped(Exception):
    """The check was called off."""


def check_shard(
    store: Path,
    shard: Shard,
    *,
    unit_norm: bool,
    on_bytes: Callable[[int], None],
    holder_of: Callable[[str], Sequence[str]],
) -> list[Finding]:
    """All that is wrong with one file, nothing where it is sound.

    Args:
        unit_norm: whether rows of arrays named `.../embedding` must have norm 1.
        on_bytes: called with the size of each piece that was read.
        holder_of: the files whose recorded sha256 is the one given.
    """
    seeds = shard.block.seeds
    try:
        with _opened(store / shard.file) as descriptor:
            return list(_check_open(descriptor, shard, unit_norm, on_bytes, holder_of))
    except FileNotFoundError:
        return [shard.finding(MISSING, "the file is missing", seeds)]
    except OSError as error:
        return [shard.finding(DAMAGED, f"cannot be read: {error.strerror or error}", seeds)]


def _check_open(
    descriptor: int,
    shard: Shard,
    unit_norm: bool,
    on_bytes: Callable[[int], None],
    holder_of: Callable[[str], Sequence[str]],
) -> Iterator[Finding]:
    seeds, record = shard.block.seeds, shard.record
    size = os.fstat(descriptor).st_size
    positions, index_problem = _positions(descriptor, size, shard)
    check = row_check(shard.spec, unit_norm=unit_norm) if size == record.size and not index_problem else None
    sha256, odd_planes = _read_through(descriptor, size, shard, positions if check else [], check, on_bytes)
    others = [name for name in holder_of(sha256) if name != shard.file] if sha256 != record.sha256 else []
    if others:
        yield shard.finding(SWAPPED, f"holds the content of {named(others)}", seeds)
    elif size != record.size:
        yield shard.finding(SIZE, f"found {size} bytes, expected {record.size}", seeds)
    elif sha256 != record.sha256:
        yield _harm(descriptor, shard, positions, index_problem, sha256)
    elif index_problem:
        yield shard.finding(DAMAGED, f"its bytes are the recorded ones, but {index_problem}", seeds)
    else:
        yield from _odd_checksums(descriptor, shard, positions)
        yield from _odd_values(descriptor, shard, positions, sorted(odd_planes), unit_norm)


def _read_through(
    descriptor: int,
    size: int,
    shard: Shard,
    positions: Sequence[int],
    check: RowCheck | None,
    on_bytes: Callable[[int], None],
) -> tuple[str, set[int]]:
    """The sha256 of a file, and the numbers of the planes whose rows do not pass `check`."""
    digest = hashlib.sha256()
    odd: set[int] = set()
    buffer = np.empty(max(min(PIECE_BYTES, size), shard.spec.row_bytes if positions else 1), np.uint8)
    for start, stop, plane in _pieces(size, shard, positions):
        piece = buffer[: stop - start]
        _read_into(descriptor, start, piece)
        digest.update(cast(Any, piece))
        if check is not None and plane >= 0 and not check(piece):
            odd.add(plane)
        on_bytes(len(piece))
    return digest.hexdigest(), odd


def _pieces(size: int, shard: Shard, positions: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(start, stop, plane) of all bytes in order; whole rows where they are a plane's, else plane -1."""
    rows_bytes = max(1, PIECE_BYTES // shard.spec.row_bytes) * shard.spec.row_bytes
    at = 0
    for start, plane in sorted(zip(positions, range(len(positions)), strict=True)):
        yield from ((first, min(first + PIECE_BYTES, start), -1) for first in range(at, start, PIECE_BYTES))
        at = start + shard.live_bytes
        yield from ((first, min(first + rows_bytes, at), plane) for first in range(start, at, rows_bytes))
    yield from ((first, min(first + PIECE_BYTES, size), -1) for first in range(at, size, PIECE_BYTES))


def _positions(descriptor: int, size: int, shard: Shard) -> tuple[list[int], str]:
    """Where the planes of a file begin, and what is wrong with its index; then, where they begin in files of ours."""
    stride = plane_stride(shard.plane_bytes, shard.spec.row_bytes)
    regular = [plane * stride for plane in range(len(shard.block.seeds))]
    length = index_bytes(shard.grid)
    if size < length:
        return regular, f"it has {size} bytes, too few for its index"
    try:
        found_P = decode_index(os.pread(descriptor, length, size - length), size, shard.plane_bytes)
    except ValueError as error:
        return regular, str(error)
    found = found_P.tolist()[: len(regular)]
    if min(found) < 0:
        return regular, "the index lacks a plane"
    ordered = sorted(found)
    if any(right - left < shard.plane_bytes + CRC_BYTES for left, right in pairwise(ordered)):
        return regular, "the index has planes that lie over one another"
    return found, ""


def _harm(descriptor: int, shard: Shard, positions: Sequence[int], index_problem: str, sha256: str) -> Finding:
    """Which planes of a file are not as recorded."""
    seeds = shard.block.seeds
    harmed = [
        seeds[plane]
        for plane, start in enumerate(positions)
        if _plane_crc32c(descriptor, start, shard.plane_bytes) != _expected_crc32c(descriptor, shard, plane, start)
    ]
    where = f"found sha256 {sha256}, expected {shard.record.sha256}"
    if index_problem:
        count = len(seeds) - len(harmed)
        return shard.finding(DAMAGED, f"{where}; {index_problem} ({count} of {len(seeds)} planes are whole)", seeds)
    if harmed:
        return shard.finding(DAMAGED, f"{where}; harmed: the planes of seeds {named(harmed)}", harmed)
    return shard.finding(DAMAGED, f"{where}; all planes are whole: only padding or checksums are harmed", ())


def _odd_checksums(descriptor: int, shard: Shard, positions: Sequence[int]) -> Iterator[Finding]:
    """The planes whose checksum in the file is not the one in the records."""
    odd = [
        seed
        for seed, start, expected in zip(shard.block.seeds, positions, shard.record.plane_crc32c, strict=False)
        if _number(os.pread(descriptor, CRC_BYTES, start + shard.plane_bytes)) != expected
    ]
    if odd:
        what = f"its bytes are the recorded ones, but not the recorded checksums of the planes of seeds {named(odd)}"
        yield shard.finding(DAMAGED, what, odd)


def _odd_values(
    descriptor: int, shard: Shard, positions: Sequence[int], planes: Sequence[int], unit_norm: bool
) -> Iterator[Finding]:
    """What is wrong with the values of these planes, read again."""
    found: dict[str, dict[int, list[int]]] = {NOT_FINITE: {}, NOT_UNIT: {}}
    for plane in planes:
        plane_bytes = np.empty(shard.live_bytes, np.uint8)
        _read_into(descriptor, positions[plane], plane_bytes)
        for kind, bad in bad_rows(plane_bytes, shard.spec, unit_norm=unit_norm).items():
            if len(bad):
                found[kind][shard.block.seeds[plane]] = bad.tolist()
    for kind, rows_of in found.items():
        if rows_of:
            count = sum(map(len, rows_of.values()))
            words = "NaN or infinity" if kind == NOT_FINITE else "a norm that is not 1"
            rows = sorted(set().union(*rows_of.values()))
            what = f"{words} in {count} rows of the planes of seeds {named(list(rows_of))}"
            yield replace(shard.finding(kind, what, list(rows_of), rows), views=count)


def _expected_crc32c(descriptor: int, shard: Shard, plane: int, start: int) -> int:
    """Of a plane, by the records; of format version 1, by the file itself."""
    if shard.record.plane_crc32c:
        return shard.record.plane_crc32c[plane]
    return _number(os.pread(descriptor, CRC_BYTES, start + shard.plane_bytes))


def _plane_crc32c(descriptor: int, start: int, length: int) -> int:
    checksum = 0
    for first in range(start, start + length, PIECE_BYTES):
        content = os.pread(descriptor, min(PIECE_BYTES, start + length - first), first)
        checksum = int(google_crc32c.extend(checksum, content))
    return checksum


def _number(checksum: bytes) -> int:
    return int.from_bytes(checksum, "little")


def _read_into(descriptor: int, start: int, piece: npt.NDArray[np.uint8]) -> None:
    """Fill a buffer from a file; OSError where the file ends too early."""
    view = memoryview(cast(Any, piece))
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], start + done)
        if not count:
            raise OSError(f"it became shorter while it was read: {start + done} bytes")
        done += count


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The descriptor of a plain file; OSError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("found a folder or a device, expected a file")
        yield descriptor
    finally:
        os.close(descriptor)
