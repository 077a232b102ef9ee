"""The part of a decoder that all backends share: read the files, check and describe the cuts, deliver.

A backend says only how it carries out cuts: an image for each thread at a time (`OneByOneDecoder`), or a batch of
decoded images (`batch_decoder`), whatever the number of crops. The files of a call are held in memory as they are on
disk, beside the result: so callers bound the memory by the number of paths of a call. A call that meets a bad file
looks at all of its files again, one by one, to name every bad one.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fdbpl.pipeline.loading.cuts import Cuts, center_cuts, window_cuts
from fdbpl.pipeline.loading.decoder import CheckFile, UnreadableImage, UnreadableImages
from fdbpl.pipeline.loading.image_file import ImageFile, read_image_file
from fdbpl.pipeline.loading.threads import in_threads

# What a file in memory takes, with its header and digest, is a tenth of it.
_AT_ONCE_SECONDS = 0.001
DecodedT = TypeVar("DecodedT")


class CutDecoder(ABC):
    """Reads and checks for a backend, which implements `_cut`; `decoder.Decoder` documents the methods."""

    name: str
    version: str

    def __init__(self, device: torch.device, reason: str) -> None:
        self.device = device
        self.reason = reason
        self._stream: torch.cuda.Stream | None = None
        # A live student's crops are cut ahead in one thread while its online teacher may want others in another.
        self._lock = threading.Lock()

    def windows(
        self,
        paths: Sequence[Path],
        image_B: NDArray[np.integer],
        boxes_B4: NDArray[np.integer],
        flips_B: NDArray[np.bool_],
        size: int,
        *,
        check: CheckFile | None = None,
    ) -> Tensor:
        return self._deliver(paths, lambda files: window_cuts(files, image_B, boxes_B4, flips_B, size), check)

    def center(self, paths: Sequence[Path], size: int) -> Tensor:
        return self._deliver(paths, lambda files: center_cuts(files, size), None)

    def _deliver(
        self, paths: Sequence[Path], describe: Callable[[Sequence[ImageFile]], Cuts], check: CheckFile | None
    ) -> Tensor:
        def read(index: int) -> ImageFile:
            file = read_image_file(Path(paths[index]), index)
            if check is not None:
                check(file)
            return file

        try:
            files = _read_all(read, len(paths))
            with self._lock:
                return self._on_own_stream(files, describe(files))
        except UnreadableImage as error:
            bad = []
            for index in range(len(paths)):
                try:
                    file = read_image_file(Path(paths[index]), index)
                    with self._lock:
                        self._check(file)  # first: that a file is cut short says more than that it has changed
                    if check is not None:
                        check(file)
                except UnreadableImage as one:
                    bad.append(one)
            raise UnreadableImages(bad or [error], len(paths)) from error

    def _on_own_stream(self, files: Sequence[ImageFile], cuts: Cuts) -> Tensor:
        """Cut on a CUDA stream of our own: on the caller's, copies would queue behind its model. Returns when done."""
        if self.device.type != "cuda":
            return self._cut(files, cuts)
        caller = torch.cuda.current_stream(self.device)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self._stream):
            crops_BCHW = self._cut(files, cuts)
        self._stream.synchronize()
        # Else the memory could be given to a later call while the caller's queued work still reads it.
        crops_BCHW.record_stream(caller)
        return crops_BCHW

    @abstractmethod
    def _check(self, file: ImageFile) -> None:
        """Decode one file as `_cut` would; raise UnreadableImage."""

    @abstractmethod
    def _cut(self, files: Sequence[ImageFile], cuts: Cuts) -> Tensor:
        """Decode each file once and return its cuts, uint8 [B, 3, size, size] on the device."""


class OneByOneDecoder(CutDecoder, Generic[DecodedT]):
    """Decodes on the CPU, an image for each of torch's threads at a time, and makes all of its cuts before the next."""

    def _cut(self, files: Sequence[ImageFile], cuts: Cuts) -> Tensor:
        # Pinned memory is copied without holding up the host.
        is_cuda = self.device.type == "cuda"
        crops_BCHW = torch.empty((len(cuts), 3, cuts.size, cuts.size), dtype=torch.uint8, pin_memory=is_cuda)

        def cut_all_of(position: int) -> None:
            decoded = self._decode(files[position])
            for b in np.flatnonzero(cuts.image_B == position).tolist():
                crops_BCHW[b] = self._cut_one(decoded, cuts, b)

        in_threads(cut_all_of, range(len(files)))
        return crops_BCHW.to(self.device, non_blocking=True)

    def _check(self, file: ImageFile) -> None:
        self._decode(file)

    @abstractmethod
    def _decode(self, file: ImageFile) -> DecodedT:
        """Decode to RGB; raise UnreadableImage."""

    @abstractmethod
    def _cut_one(self, decoded: DecodedT, cuts: Cuts, b: int) -> Tensor:
        """Make cut b: uint8 [3, size, size]."""


def _read_all(read: Callable[[int], ImageFile], count: int) -> list[ImageFile]:
    """Read one by one while each comes at once, and on several threads from the first one on that does not.

    Files that are in memory are read five times as fast by one thread as by sixteen, which then wait for the
    interpreter's lock; slow file systems, and digests of large files, are what threads are for.
    """
    files: list[ImageFile] = []
    while len(files) < count:
        started = time.perf_counter()
        files.append(read(len(files)))
        if time.perf_counter() - started > _AT_ONCE_SECONDS:
            files += in_threads(read, range(len(files), count))
    return files


def check_decoded_size(file: ImageFile, height: int, width: int) -> None:
    """Refuse pixels that are not of the header's size: windows were checked against the header."""
    if (height, width) != (file.height, file.width):
        raise file.unreadable(
            f"its header says {file.height} high and {file.width} wide, found {height} high and {width} wide"
        )
