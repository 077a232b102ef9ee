"""One file for each image with the labels of all its crops, as FKD keeps them: torch.save and torch.load.

A batch of random rows opens as many files as it has rows, and each load unpickles all seeds to keep one.
(FKD: Shen and Xing, A Fast Knowledge Distillation Framework for Visual Recognition, ECCV 2022.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fdbpl.pipeline.bench.data import Numbers, Rows
from fdbpl.pipeline.bench.peers.peer import Peer

FOLDER = "pickles"
_FILES_PER_FOLDER = 1000
_OVERHEAD = 5000  # of one file: the archive's headers, and the rounding to a file system's blocks


class PicklePeer(Peer):
    name: ClassVar[str] = "torch-pickles"
    package: ClassVar[str] = "torch"
    warm_up_seconds: ClassVar[float] = 0.0
    setting: ClassVar[str] = (
        "one torch.save file an image with the labels of all its crops; torch.load(weights_only=True)"
    )

    def formats(self) -> Mapping[str, int]:
        return {FOLDER: self.data.num_bytes + self.data.num_images * _OVERHEAD}

    def build(self) -> None:
        import torch

        for images, rows_nSC in self.data.blocks():
            for image, rows_SC in zip(images, rows_nSC, strict=True):
                path = self._file(image)
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.save(torch.from_numpy(rows_SC).clone(), path)

    _load_file: Any = None
    _paths: Sequence[Path] = ()

    def open(self) -> None:
        import torch

        torch.set_num_threads(1)
        self._load_file = torch.load
        self._paths = [self._file(image) for image in range(self.data.num_images)]

    def close(self) -> None:
        self._paths = ()

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        for place, (image, seed) in enumerate(zip(images.tolist(), seeds.tolist(), strict=True)):
            self._load(image, seed, out[place])

    def read_plane(self, seed: int, out: Rows) -> None:
        for image in range(self.data.num_images):
            self._load(image, seed, out[image])

    def _load(self, image: int, seed: int, row: Rows) -> None:
        row[...] = self._load_file(self._paths[image], weights_only=True)[seed].numpy()

    def _file(self, image: int) -> Path:
        return self.folder / FOLDER / str(image // _FILES_PER_FOLDER) / f"{image}.pt"
