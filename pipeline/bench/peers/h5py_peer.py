"""h5py over one contiguous data set [S*N, C] in seed order: rows by a sorted list of numbers, planes as a slice.

Tried for 256 rows of 2 kB: `read_direct` row by row 14 ms (16 ms in chunks of one row, 60 ms in chunks of
1024 images), the low-level calls 6 ms, a sorted list 2 ms. A plane takes the same in chunks and without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fdbpl.pipeline.bench.data import ROWS_DTYPE, Numbers, Rows
from fdbpl.pipeline.bench.peers.peer import Peer

FILE, DATA_SET = "rows.h5", "rows"


class H5pyPeer(Peer):
    name: ClassVar[str] = "h5py"
    package: ClassVar[str] = "h5py"
    extra: ClassVar[str] = "fdbpl[bench]"
    setting: ClassVar[str] = (
        "one contiguous data set in seed order; rows: one fancy index by sorted distinct numbers, put back in order; "
        "planes: read_direct of a slice"
    )

    _file: Any = None
    _rows: Any = None

    def formats(self) -> Mapping[str, int]:
        return {FILE: self.data.num_bytes + 4096}

    def build(self) -> None:
        import h5py

        data = self.data
        with h5py.File(self.folder / FILE, "w") as file:
            rows = file.create_dataset(DATA_SET, (data.num_views, data.num_classes), ROWS_DTYPE)
            for seed in range(data.num_seeds):
                rows[seed * data.num_images : (seed + 1) * data.num_images] = data.plane(seed)

    def open(self) -> None:
        import h5py

        self._file = h5py.File(self.folder / FILE, "r")
        self._rows = self._file[DATA_SET]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._rows = None

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        distinct, back = np.unique(seeds * self.data.num_images + images, return_inverse=True)
        out[...] = self._rows[distinct][back]

    def read_plane(self, seed: int, out: Rows) -> None:
        first = seed * self.data.num_images
        self._rows.read_direct(out, np.s_[first : first + self.data.num_images])
