"""Reads image files by their paths, be they files or members of tar shards.

A path may go into a tar: `FOLDER/train-000000.tar/cats/1.jpg` is the member `cats/1.jpg` of that shard, and
`FOLDER/train-{000000..000099}.tar/cats/1.jpg` that member of whichever of these shards has it. So a folder of images
and its shards differ in what stands before an image's own path, and in nothing else.

Lists of members are read once in a process and kept.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from fdbpl.pipeline.shards.index import Stamp, stamp_of
from fdbpl.pipeline.shards.members import COMPRESSED, NO_RANDOM_ACCESS, ShardError
from fdbpl.pipeline.shards.names import find_shards
from fdbpl.pipeline.shards.shard_set import OpenFiles, ShardSet

ToldT = TypeVar("ToldT")


def read_file(path: Path) -> bytes:
    """The bytes of a file, or of a member of a tar.

    Raises:
        OSError: it cannot be read; `strerror` says why, and for a tar (ShardError) which shard and member.
    """
    here = _process()
    place = here.into_tar(path)
    return here.shards(place[0]).read(place[1], here.files) if place else _told(path, Path.read_bytes)


def file_facts(path: Path) -> Stamp:
    """The size of a file, or member, in bytes, and when it, or its shard, was changed (ns). Raises as `read_file`."""
    here = _process()
    place = here.into_tar(path)
    return here.shards(place[0]).facts(place[1]) if place else _told(path, lambda plain: stamp_of(plain.stat()))


def lacking(root: Path) -> str:
    """Why no image can be read below `root`, neither folder nor tar shards; "" where they can. Opens no shard."""
    if root.is_dir():
        return ""
    if root.suffix != ".tar" and not COMPRESSED.search(root.name):
        return f"there is no folder {root}"
    try:
        find_shards(root)
    except ShardError as error:
        return str(error.strerror)
    return ""


class _Process:
    """What one process has read of shards.

    A lock that another thread held at a fork would never be let go in the child, so each process has its own. Lists of
    members are never changed: a child has its parent's.
    """

    def __init__(self, known: Mapping[str, ShardSet]) -> None:
        self.files = OpenFiles()
        self.known = dict(known)
        self._locks: dict[str, threading.Lock] = {}

    def into_tar(self, path: Path) -> tuple[str, str] | None:
        """A path in two: the shard, or pattern of shards, and the member; None for a plain file."""
        text = os.fspath(path)
        at = text.find(_INTO)
        while at >= 0:
            place = text[: at + len(_INTO) - 1]
            # Shards that are known need no look at the disk; a folder may be called so too.
            if place in self.known or not Path(place).is_dir():
                return place, text[at + len(_INTO) :]
            at = text.find(_INTO, at + 1)
        return None

    def shards(self, place: str) -> ShardSet:
        found = self.known.get(place)
        if found is not None:
            return found
        with self._locks.setdefault(place, threading.Lock()):
            if place not in self.known:
                self.known[place] = ShardSet(Path(place))
            return self.known[place]


_INTO = ".tar/"
# By process number: a child finds its parent's beside its own.
_PROCESSES: dict[int, _Process] = {}


def _process() -> _Process:
    number = os.getpid()
    here = _PROCESSES.get(number)
    if here is None:
        known = {place: shards for process in list(_PROCESSES.values()) for place, shards in process.known.items()}
        here = _PROCESSES.setdefault(number, _Process(known))
    return here


def _told(path: Path, use: Callable[[Path], ToldT]) -> ToldT:
    try:
        return use(path)
    except (NotADirectoryError, FileNotFoundError) as error:
        for place in path.parents:
            if COMPRESSED.search(place.name) and not place.is_dir():
                raise ShardError(f"{place}: {NO_RANDOM_ACCESS}", path) from error
        raise
