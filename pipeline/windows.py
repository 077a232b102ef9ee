"""Where the crop window of a view comes from: the policy that computes it, or the store that recorded it.

Letters: B views, N images.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from fdbpl.cache_layout.crops import CropPolicy, crop_boxes
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.loading.decoder import Decoder, UnreadableImage


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

    def __init__(self, decoder: Decoder, root: Path, paths: tuple[str, ...], windows: Windows) -> None:
        self._decoder, self._windows = decoder, windows
        self._files = [root / path for path in paths]

    def __call__(self, images_B: np.ndarray, seeds_B: np.ndarray, size: int) -> Tensor:
        boxes_B4, flips_B = self._windows(images_B, seeds_B)
        unique_U, image_B = np.unique(images_B, return_inverse=True)
        files = [self._files[image] for image in unique_U]
        try:
            return self._decoder.windows(files, image_B, boxes_B4, flips_B, size)
        except UnreadableImage as error:
            # The decoder counts within this call; people count within the data set.
            raise UnreadableImage(int(unique_U[error.index]), error.path, error.reason) from error
