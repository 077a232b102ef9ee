"""Our own reader, over the store that the other Zarr readers open too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.bench.data import Numbers, Rows
from fdbpl.pipeline.bench.peers.bench_store import ARRAY, STORE, build_store, store_bytes
from fdbpl.pipeline.bench.peers.peer import Peer


class FdbplPeer(Peer):
    name: ClassVar[str] = "fdbpl"
    package: ClassVar[str] = "fdbpl"
    warm_up_seconds: ClassVar[float] = 60.0
    setting: ClassVar[str] = (
        "Reader.read and Reader.read_plane into the caller's buffer; cold: the next batch prefetched"
    )

    _reader: Reader | None = None

    def formats(self) -> Mapping[str, int]:
        return {STORE: store_bytes(self.data)}

    def build(self) -> None:
        build_store(self.folder / STORE, self.data)

    def open(self) -> None:
        self._reader = open_reader(self.folder / STORE)
        self._reader.read(ARRAY, [], [])  # opens the array; its files are mapped as they are touched

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        assert self._reader is not None
        self._reader.read(ARRAY, images, seeds, out=out)

    def read_plane(self, seed: int, out: Rows) -> None:
        assert self._reader is not None
        self._reader.read_plane(ARRAY, seed, out=out)

    def prefetch_rows(self, images: Numbers, seeds: Numbers) -> None:
        assert self._reader is not None
        self._reader.prefetch_rows(ARRAY, images, seeds)

    def prefetch_plane(self, seed: int) -> None:
        assert self._reader is not None
        self._reader.prefetch(ARRAY, seed)
