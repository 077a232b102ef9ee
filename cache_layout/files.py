"""Files that appear whole or not at all, and stay after a power loss.

A file is written under a temporary name that carries the attempt (host, process, random part), flushed to
the disk, made read-only, and renamed; then its folder is flushed. So a file under its final name is
complete, two attempts never share a temporary name, and a failed write leaves nothing. Cost: two flushes a
file.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"
READ_ONLY = 0o444
# Large writes at multiples of their size leave large pages in the system's cache, which maps of the file then use.
WRITE_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What a file must be: its size in bytes and the hex sha256 of its content."""

    size: int
    sha256: str


def temporary_name() -> str:
    """A name for this attempt that no other attempt uses."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
    return f"{TEMPORARY}{host}-{os.getpid()}-{secrets.token_hex(6)}"


@contextmanager
def staged_file(folder: Path, pieces: Iterable[Any]) -> Iterator[tuple[Path, FileRecord]]:
    """Write `pieces` (bytes-like) to a temporary file in `folder`; yield its path and record.

    The file is flushed and read-only when it is yielded. It is removed at the end unless it was published.
    """
    path = folder / temporary_name()
    try:
        yield path, _write(path, pieces)
    finally:
        path.unlink(missing_ok=True)


def publish(staged: Path, final: Path) -> None:
    """Rename a staged file to its final name on the same file system, for good."""
    staged.replace(final)
    sync_folder(final.parent)


def write_file(path: Path, content: bytes, staging: Path | None = None) -> None:
    """Write `content` to `path`, replacing it whole; stage it in `staging`, or beside `path`."""
    with staged_file(staging or path.parent, [content]) as (staged, _):
        publish(staged, path)


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for current, _, names in os.walk(folder):
        for name in names:
            with Path(current, name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(current))


def record_of(path: Path, piece_bytes: int = 1 << 20) -> FileRecord:
    """Read a file and return what it is. FileNotFoundError where there is none."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(piece_bytes):
            digest.update(piece)
            size += len(piece)
    return FileRecord(size=size, sha256=digest.hexdigest())


def _write(path: Path, pieces: Iterable[Any]) -> FileRecord:
    """Write, flush and protect a file; an OSError says which file the disk did not take."""
    try:
        return _write_pieces(path, pieces)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_pieces(path: Path, pieces: Iterable[Any]) -> FileRecord:
    digest = hashlib.sha256()
    size = 0
    with path.open("xb", buffering=0) as file:
        for part in _in_large_parts(pieces):
            digest.update(part)
            size += len(part)
            while part:
                part = part[file.write(part) :]
        os.fchmod(file.fileno(), READ_ONLY)
        os.fsync(file.fileno())
    return FileRecord(size=size, sha256=digest.hexdigest())


def _in_large_parts(pieces: Iterable[Any]) -> Iterator[memoryview]:
    """The bytes of all pieces in parts of `WRITE_BYTES`, the last one shorter; each is used before the next."""
    buffer = memoryview(bytearray(WRITE_BYTES))
    filled = 0
    for piece in pieces:
        rest = memoryview(piece).cast("B")
        while rest:
            count = min(len(rest), WRITE_BYTES - filled)
            buffer[filled : filled + count] = rest[:count]
            filled, rest = filled + count, rest[count:]
            if filled == WRITE_BYTES:
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]
