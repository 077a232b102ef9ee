"""The bound: one plain file for each pattern, mapped whole, in the order that suits the pattern best.

Random rows come from a file in image order by one np.take, planes from a file in seed order by one copy. No
reader of a store that serves both from one copy can beat it by much; a reader that nears it is done. Cold files are
asked for in advance, so that the bound is the disk's too.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fdbpl.pipeline.bench.data import ROWS_DTYPE, Numbers, Rows
from fdbpl.pipeline.bench.peers.peer import Peer

IMAGE_MAJOR, SEED_MAJOR = "rows.image-major.raw", "rows.seed-major.raw"
_PIECE = 1 << 20  # one call of madvise reads no more than the device's limit, silently


class NumpyPeer(Peer):
    name: ClassVar[str] = "numpy"
    package: ClassVar[str] = "numpy"
    warm_up_seconds: ClassVar[float] = 60.0
    setting: ClassVar[str] = (
        "the bound: np.take(mode='clip') over one map of [N*S, C] in image order, np.copyto of a plane of one map of "
        "[S, N, C]; MADV_RANDOM on the first; cold: the next batch by MADV_WILLNEED"
    )

    _rows: npt.NDArray[Any] | None = None
    _planes: npt.NDArray[Any] | None = None
    _row_map: Any = None
    _plane_map: Any = None

    def formats(self) -> Mapping[str, int]:
        return {IMAGE_MAJOR: self.data.num_bytes, SEED_MAJOR: self.data.num_bytes}

    def build(self) -> None:
        with (self.folder / IMAGE_MAJOR).open("wb") as file:
            for _, rows_nSC in self.data.blocks():
                file.write(rows_nSC.tobytes())
        with (self.folder / SEED_MAJOR).open("wb") as file:
            for seed in range(self.data.num_seeds):
                file.write(self.data.plane(seed).tobytes())

    def open(self) -> None:
        data = self.data
        self._row_map, rows = _map(self.folder / IMAGE_MAJOR)
        self._plane_map, planes = _map(self.folder / SEED_MAJOR)
        self._row_map.madvise(mmap.MADV_RANDOM)
        self._rows = rows.reshape(data.num_views, data.num_classes)
        self._planes = planes.reshape(data.num_seeds, data.num_images, data.num_classes)

    def close(self) -> None:
        self._rows = self._planes = None
        self._row_map = self._plane_map = None

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        assert self._rows is not None
        # The mode keeps np.take from copying through a buffer of its own.
        np.take(self._rows, images * self.data.num_seeds + seeds, axis=0, out=out, mode="clip")

    def read_plane(self, seed: int, out: Rows) -> None:
        assert self._planes is not None
        np.copyto(out, self._planes[seed])

    def prefetch_rows(self, images: Numbers, seeds: Numbers) -> None:
        size, page = self.data.row_bytes, mmap.PAGESIZE
        for start in ((images * self.data.num_seeds + seeds) * size).tolist():
            first = start - start % page
            self._row_map.madvise(mmap.MADV_WILLNEED, first, start + size - first)

    def prefetch_plane(self, seed: int) -> None:
        size = self.data.num_images * self.data.row_bytes
        start, end = seed * size, (seed + 1) * size
        for first in range(start - start % mmap.PAGESIZE, end, _PIECE):
            self._plane_map.madvise(mmap.MADV_WILLNEED, first, min(_PIECE, end - first))


def _map(path: Path) -> tuple[mmap.mmap, npt.NDArray[Any]]:
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    return memory, np.frombuffer(memory, ROWS_DTYPE)
