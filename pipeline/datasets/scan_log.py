"""What scans have found so far, kept in the run's folder: a scan that was cut off goes on, and a later one of the same
files does not read them again.

An entry is found by a digest of the file's path, size and time of change, so that a file that was changed since is read
again. Only readable files have entries: bad ones are few, and may be mended by something that changes neither. Entries
are written a thousand at a time, each time as a whole file with a checksum that no other scan writes to; a file that is
not as it was written, or of another Pillow, is not used. Memory: 72 bytes an entry.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from fdbpl.pipeline.loading.open_image import MAX_PIXELS
from fdbpl.pipeline.shards.files import file_facts
from fdbpl.pipeline.whole_file import replace_file

ENTRY = np.dtype(
    [("key", "S16"), ("sha256", "u1", (32,)), ("size", "<i4", (2,)), ("kind", "S15"), ("is_native", "u1")], align=False
)
Entries = NDArray[np.void]

_SUFFIX = ".scan"
_DIGEST_BYTES = 32
_ENTRIES_A_FILE = 1024
# A file that has only just changed may change once more without another time.
_YOUNGEST_NS = 2_000_000_000


class ScanLog:
    """The entries in a folder, and those that are added. A scan has its own object; several may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries = _read_all(folder)
        self._new: list[Entries] = []

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, keys: Sequence[bytes], *, with_digest: bool) -> tuple[Entries, NDArray[np.bool_]]:
        """The entry of each key [M], and whether there is one (with the file's digest, where that is asked for)."""
        wanted_M = np.array(keys, dtype="S16")
        if not len(self._entries):
            return np.zeros(len(keys), ENTRY), np.zeros(len(keys), np.bool_)
        at_M = np.minimum(np.searchsorted(self._entries["key"], wanted_M), len(self._entries) - 1)
        found_M = self._entries[at_M]
        is_there_M = (found_M["key"] == wanted_M) & (wanted_M != b"")
        if with_digest:
            is_there_M &= found_M["sha256"].any(axis=1)
        return found_M, is_there_M

    def add(self, entries: Entries) -> None:
        """Keep entries; they are on the disk once there are enough of them, or with `flush`."""
        self._new.append(entries[entries["key"] != b""])
        if sum(map(len, self._new)) >= _ENTRIES_A_FILE:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        entries = np.concatenate([np.zeros(0, ENTRY), *self._new])
        self._new = []
        if len(entries):
            content = _header() + entries.tobytes()
            digest = hashlib.sha256(content)
            replace_file(self._folder / f"{digest.hexdigest()[:16]}{_SUFFIX}", content + digest.digest())


def entry_key(path: Path) -> bytes:
    """What tells a file's entry: 16 bytes; empty where there is no file, or one that has changed within two seconds."""
    try:
        num_bytes, changed_ns = file_facts(path)
    except (OSError, ValueError):
        return b""
    if time.time_ns() - changed_ns < _YOUNGEST_NS:
        return b""
    stated = os.fsencode(path) + f"\0{num_bytes}\0{changed_ns}".encode()
    return hashlib.blake2b(stated, digest_size=16).digest()


def _header() -> bytes:
    facts = {"fdbpl_scan": 1, "pillow": PIL.__version__, "max_pixels": MAX_PIXELS}
    return json.dumps(facts).encode() + b"\n"


def _read_all(folder: Path) -> Entries:
    """All entries of a folder in the order of their keys, each key once, with a digest where one of them has one."""
    found = [_read(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]
    entries = np.concatenate([np.zeros(0, ENTRY), *found])
    has_digest = entries["sha256"].any(axis=1)
    entries = np.concatenate([entries[has_digest], entries[~has_digest]])
    _, first = np.unique(entries["key"], return_index=True)
    return entries[first]


def _read(path: Path) -> Entries:
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    written, digest, header = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:], _header()
    is_ours = written.startswith(header) and hashlib.sha256(written).digest() == digest
    return np.frombuffer(written[len(header) :] if is_ours else b"", ENTRY)
