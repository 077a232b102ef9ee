"""tensorstore over our store, with a cache of decoded chunks that holds all of it where two gigabytes do.

Without the cache it decodes a whole inner chunk to give one row, some hundred times slower. The cache is each
process's own memory, which the mapped readers do not need; that price is not in the rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from fdbpl.pipeline.bench.data import Numbers, Rows
from fdbpl.pipeline.bench.peers.bench_store import ARRAY, STORE, build_store, store_bytes
from fdbpl.pipeline.bench.peers.peer import Peer

_MAX_CACHE_BYTES = 2 << 30


class TensorstorePeer(Peer):
    name: ClassVar[str] = "tensorstore"
    package: ClassVar[str] = "tensorstore"
    extra: ClassVar[str] = "fdbpl[bench]"
    warm_up_seconds: ClassVar[float] = 60.0
    setting: ClassVar[str] = (
        "our store by the zarr3 driver; a cache_pool of twice the store's size in each process, at most 2 GiB; "
        "data rechecked at opening only; rows: one vectorised read; planes: written into the buffer; its own threads"
    )

    _array: Any = None

    def formats(self) -> Mapping[str, int]:
        return {STORE: store_bytes(self.data)}

    def build(self) -> None:
        build_store(self.folder / STORE, self.data)

    def open(self) -> None:
        import tensorstore

        cache_bytes = min(2 * self.data.num_bytes, _MAX_CACHE_BYTES)
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{self.folder / STORE / ARRAY}/"},
            "recheck_cached_data": "open",
            "recheck_cached_metadata": "open",
        }
        context = tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes}})
        self._array = tensorstore.open(spec, open=True, read=True, context=context).result()

    def close(self) -> None:
        self._array = None

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        out[...] = self._array.vindex[images, seeds].read().result()

    def read_plane(self, seed: int, out: Rows) -> None:
        import tensorstore

        tensorstore.array(out).write(self._array[:, seed]).result()
