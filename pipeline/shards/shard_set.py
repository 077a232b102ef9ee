"""Images read out of tar shards: a member's name to its bytes, over all shards of a pattern.

Names are looked up in the lists of members of all shards, so a name must be in one of them only. Bytes are read at
their place (`pread`), by any number of threads and by processes that are forked, through a bounded number of open
files. Memory: some 200 bytes an image.
"""

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from fdbpl.pipeline.shards.index import Stamp, load_members, stamp_of
from fdbpl.pipeline.shards.members import Members, ShardError
from fdbpl.pipeline.shards.names import find_shards

MAX_OPEN = 64
NUM_SHOWN = 5
# Labels and captions beside images, half of a shard's members: not looked up here, and not kept.
NO_IMAGES = (".cls", ".json", ".txt")


class OpenFiles:
    """At most `limit` files open at a time, the least recently used is closed; for the threads of one process."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._files: OrderedDict[Path, _File] = OrderedDict()

    def get(self, path: Path, stamp: Stamp) -> "_File":
        """The open file, which stays open as long as the caller holds it. Raises ShardError where it has changed."""
        with self._lock:
            file = self._files.get(path)
            if file is not None and file.stamp == stamp:
                self._files.move_to_end(path)
                return file
        file = _File(path)
        if file.stamp != stamp:
            raise ShardError(f"the shard {path} was changed while it was in use: start again", path)
        with self._lock:
            self._files[path] = file
            while len(self._files) > self._limit:
                self._files.popitem(last=False)
        return file

    def __len__(self) -> int:
        return len(self._files)


class _File:
    """Closed when the last thread that reads it lets go: a descriptor closed earlier may be another file by then."""

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor = path, -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.stamp = stamp_of(os.fstat(self._descriptor))
        except OSError as error:
            raise ShardError(f"the shard {path} cannot be read: {error.strerror}", path) from error

    def read(self, size: int, offset: int) -> bytes:
        """`size` bytes, or fewer where the file ends before."""
        try:
            data = os.pread(self._descriptor, size, offset)
            while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise ShardError(f"the shard {self._path} cannot be read: {error.strerror}", self._path) from error
        return data

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class ShardSet:
    """The shards of one pattern, as they were when it was made."""

    def __init__(self, pattern: Path) -> None:
        """Raises ShardError: no such shard. One that cannot be read costs its own images only, and is read once."""
        self.pattern = pattern
        self.shards: Sequence[Path] = find_shards(pattern)
        self.stamps: list[Stamp] = []
        self.damaged: dict[Path, str] = {}
        self._refused: dict[str, str] = {}
        self._rows: dict[str, int] = {}
        starts = [0]
        offsets: list[np.ndarray] = []
        sizes: list[np.ndarray] = []
        for shard in self.shards:
            try:
                members, stamp = load_members(shard)
            except ShardError as error:
                members, stamp = Members(names=(), offsets=(), sizes=(), refused={}, damage=str(error)), (-1, -1)
            self.stamps.append(stamp)
            if members.damage:
                self.damaged[shard] = members.damage
            for row, name in enumerate(members.names, starts[-1]):
                if name.endswith(NO_IMAGES):
                    continue
                first = self._rows.setdefault(name, row)
                if first != row:
                    self._refused[name] = f"it is in {self.shards[bisect_right(starts, first) - 1]} and in {shard}"
            self._refused |= {name: f"in {shard}, {reason}" for name, reason in members.refused.items()}
            starts.append(starts[-1] + len(members.names))
            offsets.append(np.asarray(members.offsets, dtype=np.int64))
            sizes.append(np.asarray(members.sizes, dtype=np.int64))
        self._shard_N = np.repeat(np.arange(len(self.shards), dtype=np.int32), np.diff(starts))
        self._offsets_N, self._sizes_N = np.concatenate(offsets), np.concatenate(sizes)

    def facts(self, name: str) -> Stamp:
        """The size of a member, and when its shard was changed. Raises ShardError as `read`."""
        row = self._row(name)
        return int(self._sizes_N[row]), self.stamps[self._shard_N[row]][1]

    def read(self, name: str, files: OpenFiles) -> bytes:
        """The bytes of a member.

        Raises:
            ShardError: no such member, one that is no plain file, a shard that is cut short or was changed.
        """
        row = self._row(name)
        number, offset, size = int(self._shard_N[row]), int(self._offsets_N[row]), int(self._sizes_N[row])
        shard = self.shards[number]
        data = files.get(shard, self.stamps[number]).read(size, offset)
        if len(data) < size:
            missing = f"{offset + size:,} bytes of it are needed for member {name!r}, found {offset + len(data):,}"
            raise ShardError(f"the shard {shard} is cut short: {missing}", shard)
        return data

    def _row(self, name: str) -> int:
        if name in self._refused:
            raise ShardError(f"member {name!r} of {self.pattern}: {self._refused[name]}", self.pattern)
        row = self._rows.get(name)
        if row is None:
            harmed = "".join(f"; {shard}: {damage}" for shard, damage in islice(self.damaged.items(), NUM_SHOWN))
            raise ShardError(f"{self.pattern} has no member {name!r}{harmed}", self.pattern)
        return row
