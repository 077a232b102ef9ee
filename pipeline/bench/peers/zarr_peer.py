"""zarr-python over our store: whole planes by a slice, rows by one orthogonal selection for each seed.

zarr-python reads and checks a whole inner chunk to give one row of it, so a batch is best asked for in as few
selections as cover it: of per-row slices, one coordinate selection over [B, C] and one orthogonal selection a
seed, the last was the fastest (0.46, 0.26 and 0.23 s for 256 rows of 2 kB).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fdbpl.pipeline.bench.data import Numbers, Rows
from fdbpl.pipeline.bench.peers.bench_store import ARRAY, STORE, build_store, store_bytes
from fdbpl.pipeline.bench.peers.peer import Peer


class ZarrPeer(Peer):
    name: ClassVar[str] = "zarr-python"
    package: ClassVar[str] = "zarr"
    setting: ClassVar[str] = (
        "our store; rows: one orthogonal selection for each seed of the batch; planes: a slice into the buffer"
    )

    _array: Any = None

    def formats(self) -> Mapping[str, int]:
        return {STORE: store_bytes(self.data)}

    def build(self) -> None:
        build_store(self.folder / STORE, self.data)

    def open(self) -> None:
        import zarr

        self._array = zarr.open_array(self.folder / STORE / ARRAY, mode="r")

    def close(self) -> None:
        self._array = None

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        for seed in np.unique(seeds).tolist():
            places = np.flatnonzero(seeds == seed)
            distinct, back = np.unique(images[places], return_inverse=True)
            out[places] = self._array.oindex[distinct, seed][back]

    def read_plane(self, seed: int, out: Rows) -> None:
        from zarr.core.buffer.cpu import NDBuffer

        self._array.get_basic_selection((slice(None), seed), out=NDBuffer.from_numpy_array(out))
