"""Where the crop window of a view comes from: the policy that computes it, or the store that recorded it.

Letters: B views, N images.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from fdbpl.cache_layout.crops import CropPolicy, crop_boxes
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.loading.decoder import Decoder, UnreadableImage, UnreadableImages
from fdbpl.pipeline.loading.image_file import read_image_file


class Windows(Protocol):
    """(image ids, crop seeds) in; boxes int32 [B, 4] (top, left, height, width) and flips bool [B] out."""

    def __call__(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


class ComputedWindows:
    """Windows from the policy alone: what a teacher pass records."""

    def __init__(self, policy: CropPolicy, images: ImageIndex) -> None:
        self._policy, self._images = policy, images

    def __call__(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        paths = [self._images.paths[image] for image in images_B]
        return crop_boxes(self._policy, paths, self._images.sizes_N2[images_B], seeds_B)


class StoredWindows:
    """The integer windows that the teacher saw, read from its store."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __call__(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes_B4 = self._reader.read("crop/box", images_B, seeds_B)
        return boxes_B4, self._reader.read("crop/flip", images_B, seeds_B)


class Pixels:
    """Cuts the pixels of views out of image files: uint8 [B, 3, size, size], each image decoded once a call."""

    def __init__(
        self,
        decoder: Decoder,
        root: Path,
        images: ImageIndex,
        windows: Windows,
        numbers_N: np.ndarray | None = None,
    ) -> None:
        """`numbers_N` says what people call image n of the index, where that is a part of a data set."""
        self._decoder, self._root, self._images, self._windows = decoder, root, images, windows
        self._numbers_N = np.arange(len(images)) if numbers_N is None else numbers_N
        # Digests that were skipped on request are zeros: there is nothing to compare with.
        self._checked_N = np.asarray(images.digests_N32.any(axis=1) == 0)

    def __call__(self, images_B: np.ndarray, seeds_B: np.ndarray, size: int) -> Tensor:
        """Raises UnreadableImages, with every bad one of the call by its number in the data set; files that have
        changed since the index was made are bad too."""
        boxes_B4, flips_B = self._windows(images_B, seeds_B)
        unique_U, image_B = np.unique(images_B, return_inverse=True)
        files = [self._root / self._images.paths[image] for image in unique_U]
        try:
            crops_BCHW = self._decoder.windows(files, image_B, boxes_B4, flips_B, size)
        except UnreadableImages as error:
            raise self._all_bad(unique_U, files, error.images, is_decoded=False) from error
        except ValueError as error:
            # A window outside its image: a file that was replaced by a smaller one has no place for it.
            bad = self._all_bad(unique_U, files, self._decoder.unreadable(files), is_decoded=False)
            if not bad.images:
                raise
            raise bad from error
        bad = self._all_bad(unique_U, files, (), is_decoded=True)
        if bad.images:
            raise bad
        return crops_BCHW

    def _all_bad(
        self,
        unique_U: np.ndarray,
        files: list[Path],
        unreadable: Sequence[UnreadableImage],
        *,
        is_decoded: bool,
    ) -> UnreadableImages:
        """What cannot be read and, of the others, what is not what it was; the decoder counts within its call, people
        within the data set."""
        reasons = {bad.index: bad.reason for bad in unreadable}
        for position, (image, file) in enumerate(zip(unique_U, files, strict=True)):
            if position not in reasons and (change := self._change(int(image), file, is_decoded=is_decoded)):
                reasons[position] = change
        bad = [
            UnreadableImage(int(self._numbers_N[unique_U[position]]), files[position], reasons[position])
            for position in sorted(reasons)
        ]
        return UnreadableImages(bad, len(files))

    def _change(self, image: int, file: Path, *, is_decoded: bool) -> str:
        """How a file differs from what it was when the index was made, "" where it does not.

        Labels of a file that was replaced would be another image's: its bytes are checked once, which costs a digest.
        Where digests were skipped there is only its size, which windows within the image vouch for.
        """
        if self._checked_N[image]:
            return "" if is_decoded else self._change_of_size(image, file)
        try:
            digest = hashlib.sha256(file.read_bytes()).digest()
        except OSError as error:
            return error.strerror or str(error)
        if digest != self._images.digests_N32[image].tobytes():
            return "its content is not what it was when it was first seen: restore it, or make the store anew"
        self._checked_N[image] = True
        return ""

    def _change_of_size(self, image: int, file: Path) -> str:
        expected = tuple(self._images.sizes_N2[image].tolist())
        try:
            found = read_image_file(file, image)
        except UnreadableImage as error:
            return error.reason
        if (found.height, found.width) == expected:
            return ""
        return (
            f"found {found.height} high and {found.width} wide, expected {expected[0]} and {expected[1]} as when it "
            "was first seen: restore it, or make the store anew"
        )
