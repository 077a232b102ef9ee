"""Where the crop window of a view comes from: the policy that computes it, or the store that recorded it.

Letters: B views, N images.
"""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from fdbpl.cache_layout.crops import CropPolicy, crop_boxes
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.loading.decoder import Decoder, UnreadableImage, UnreadableImages
from fdbpl.pipeline.loading.image_file import ImageFile


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
            return self._decoder.windows(
                files, image_B, boxes_B4, flips_B, size, check=lambda file: self._check(file, int(unique_U[file.index]))
            )
        except UnreadableImages as error:
            # The decoder counts within this call; people count within the data set.
            bad = [UnreadableImage(int(self._numbers_N[unique_U[b.index]]), b.path, b.reason) for b in error.images]
            raise UnreadableImages(bad, error.num_images) from error

    def _check(self, file: ImageFile, image: int) -> None:
        """Labels of a file that was replaced would be another image's: its bytes are compared once, which costs a
        digest. Where digests were skipped there is only its size."""
        if not self._checked_N[image]:
            if hashlib.sha256(file.data).digest() != self._images.digests_N32[image].tobytes():
                raise file.unreadable(
                    "its content is not what it was when it was first seen: restore it, or make the store anew"
                )
            self._checked_N[image] = True
        expected = tuple(self._images.sizes_N2[image].tolist())
        if (file.height, file.width) != expected:
            raise file.unreadable(
                f"found {file.height} high and {file.width} wide, expected {expected[0]} and {expected[1]} as when it "
                "was first seen: restore it, or make the store anew"
            )
