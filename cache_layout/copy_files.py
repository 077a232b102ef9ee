"""Copying the files of a store into a folder that nobody sees yet, each compared with its record on the way.

Every file is read once, in bounded pieces; its digest is computed while it is copied. Four files are copied
at a time, since one thread is bound by sha256 (about 1 GB/s) where disks are not. Cost: 8 MB for each thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from fdbpl.cache_layout.documents import METADATA
from fdbpl.cache_layout.errors import DamagedFile, MissingBlocks
from fdbpl.cache_layout.files import WRITE_BYTES, staged_file
from fdbpl.cache_layout.sealed_part import SealedPart, ShardFile

NUM_THREADS = 4

OnProgress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class Stopped(Exception):
    """Ends the other threads' copies after an error; never seen outside."""


def copy_shards(part: SealedPart, target: Path, on_progress: OnProgress | None = None) -> None:
    """Copy every shard of the part.

    Raises:
        DamagedFile, MissingBlocks: a file of the source is not as recorded; named. The first one ends the copy.
        OSError: the target's disk is full or fails.
    """
    shards = list(part.shards())
    total = sum(shard.record.size for shard in shards)
    for folder in {(target / shard.name).parent for shard in shards}:
        folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    done = 0
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        copies = [pool.submit(_copy_shard, part.store.path, target, shard, stop) for shard in shards]
        try:
            for copy in as_completed(copies):
                done += copy.result()
                if on_progress is not None:
                    on_progress(done, total)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def put_metadata(part: SealedPart, target: Path) -> None:
    """Write all but the shards: what is made for the part, and the tables as they are."""
    for name, content in part.documents():
        put_bytes(target / name, content)
    for grid, spec in part.arrays():
        put_bytes(target / spec.name / METADATA, part.array_document(spec, grid))
    put_tables(part, target)


def put_tables(part: SealedPart, target: Path) -> None:
    """Write image index, class lists and records as they are; opening the copy compares their digests."""
    for name, path in part.table_files():
        put_bytes(target / name, path.read_bytes())


def put_bytes(path: Path, content: bytes) -> None:
    """Write a file into a tree that nobody sees yet; it is flushed with the tree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _copy_shard(source: Path, target: Path, shard: ShardFile, stop: threading.Event) -> int:
    """Copy one file; its size."""
    with staged_file((target / shard.name).parent, _pieces(source, shard.name, stop)) as (staged, found):
        if problem := shard.problem(found.size, found.sha256):
            raise DamagedFile(str(source), [problem])
        staged.rename(target / shard.name)
    return shard.record.size


def _pieces(store: Path, name: str, stop: threading.Event) -> Iterator[bytes]:
    """A file's content; an error of the source is told as one, not as one of the disk that is written."""
    try:
        descriptor = os.open(store / name, os.O_RDONLY)
    except FileNotFoundError:
        raise MissingBlocks(str(store), [f"{name}: missing"]) from None
    except OSError as error:
        raise DamagedFile(str(store), [f"{name}: {error.strerror}"]) from error
    try:
        while piece := _piece(descriptor, store, name):
            if stop.is_set():
                raise Stopped
            yield piece
    finally:
        os.close(descriptor)


def _piece(descriptor: int, store: Path, name: str) -> bytes:
    try:
        return os.read(descriptor, WRITE_BYTES)
    except OSError as error:
        raise DamagedFile(str(store), [f"{name}: {error.strerror}"]) from error
