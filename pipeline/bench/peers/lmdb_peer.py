"""LMDB with one value for each view, under big-endian keys in seed order, so that a plane is a run of keys.

Values are read as buffers over LMDB's own map and joined by one call into the caller's buffer. Read-ahead is
off, as its documentation advises where reads are random.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fdbpl.pipeline.bench.data import Data, Numbers, Rows
from fdbpl.pipeline.bench.peers.peer import Peer

FILE = "rows.lmdb"
_PAGE, _PAGE_HEADER, _NODE_HEADER, _KEY = 4096, 16, 8, 8


class LmdbPeer(Peer):
    name: ClassVar[str] = "lmdb"
    package: ClassVar[str] = "lmdb"
    extra: ClassVar[str] = "fdbpl[bench]"
    warm_up_seconds: ClassVar[float] = 60.0
    setting: ClassVar[str] = (
        "one value a view, keys in seed order, readahead=False, buffers=True; rows: get of each key, joined; planes: a "
        "cursor over the keys"
    )

    _environment: Any = None
    _transaction: Any = None

    def formats(self) -> Mapping[str, int]:
        return {FILE: _file_bytes(self.data)}

    def build(self) -> None:
        import lmdb

        data = self.data
        environment = lmdb.open(str(self.folder / FILE), subdir=False, lock=False, map_size=2 * _file_bytes(data))
        try:
            for seed in range(data.num_seeds):
                keys = _keys(np.arange(data.num_images), np.full(data.num_images, seed), data)
                values = (row.tobytes() for row in data.plane(seed))
                with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
                    # Keys that come in their order are appended, which leaves no page half full.
                    cursor.putmulti(zip(keys, values, strict=True), append=True)
        finally:
            environment.close()

    def open(self) -> None:
        import lmdb

        self._environment = lmdb.open(
            str(self.folder / FILE), subdir=False, readonly=True, lock=False, readahead=False, max_spare_txns=1
        )
        self._transaction = self._environment.begin(buffers=True)

    def close(self) -> None:
        if self._environment is not None:
            self._transaction.abort()
            self._environment.close()
        self._environment = self._transaction = None

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        out.data.cast("B")[:] = b"".join(map(self._transaction.get, _keys(images, seeds, self.data)))

    def read_plane(self, seed: int, out: Rows) -> None:
        size, target = self.data.row_bytes, out.data.cast("B")
        with self._transaction.cursor() as cursor:
            cursor.set_key(_keys(np.zeros(1, np.int64), np.full(1, seed), self.data)[0])
            starts = range(0, self.data.num_images * size, size)
            for start, row in zip(starts, cursor.iternext(keys=False, values=True), strict=False):
                target[start : start + size] = row


def _keys(images: Numbers, seeds: Numbers, data: Data) -> list[bytes]:
    numbers = seeds * data.num_images + images
    keys: list[bytes] = numbers.astype(">u8").view(f"V{_KEY}").tolist()
    return keys


def _file_bytes(data: Data) -> int:
    """Values of which two fit into a page share it; a larger one has whole pages of its own."""
    node = _NODE_HEADER + _KEY + data.row_bytes + 2
    per_page = (_PAGE - _PAGE_HEADER) // node
    if per_page >= 2:
        pages = -(-data.num_views // per_page)
    else:
        pages = data.num_views * -(-(data.row_bytes + _PAGE_HEADER) // _PAGE)
    return int(1.05 * pages * _PAGE) + (1 << 20)
