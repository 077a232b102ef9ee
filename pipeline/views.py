"""Sources of views: what brings the features (or pixels) that a learner needs for (image, crop seed) pairs."""

from typing import Protocol

import numpy as np
import torch

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.prefetch import prefetch_epoch
from fdbpl.pipeline.transfer import to_device
from fdbpl.pipeline.values import Views
from fdbpl.pipeline.windows import Pixels


class ViewSource(Protocol):
    def views(self, images_B: np.ndarray, seeds_B: np.ndarray, labels_B: np.ndarray) -> Views:
        """The views of these image ids under these crop seeds."""

    def prefetch(self, images_M: np.ndarray, seed: int) -> None:
        """Begin to bring in what an epoch over these images under one crop seed will ask for; returns at once."""


class StoredFeatures:
    """The frozen student's features as a pass stored them: no image is touched."""

    def __init__(self, reader: Reader, array: str, device: torch.device) -> None:
        self._reader, self._array, self._device = reader, array, device

    def views(self, images_B: np.ndarray, seeds_B: np.ndarray, labels_B: np.ndarray) -> Views:
        features = torch.from_numpy(self._reader.read(self._array, images_B, seeds_B))
        return Views(
            image_ids_B=torch.from_numpy(images_B),
            seeds_B=torch.from_numpy(seeds_B),
            labels_B=to_device(torch.from_numpy(labels_B), self._device),
            features_BD=to_device(features, self._device).to(torch.float32),
        )

    def prefetch(self, images_M: np.ndarray, seed: int) -> None:
        prefetch_epoch(self._reader, (self._array,), images_M, seed)


class LiveFeatures:
    """Pixels cut in every step and run through the frozen student encoder."""

    def __init__(self, backbone: Backbone, pixels: Pixels) -> None:
        self._backbone, self._pixels = backbone, pixels

    def views(self, images_B: np.ndarray, seeds_B: np.ndarray, labels_B: np.ndarray) -> Views:
        pixels_BCHW = self._pixels(images_B, seeds_B, self._backbone.image_size)
        return Views(
            image_ids_B=torch.from_numpy(images_B),
            seeds_B=torch.from_numpy(seeds_B),
            labels_B=to_device(torch.from_numpy(labels_B), self._backbone.device),
            pixels_BCHW=pixels_BCHW,
            features_BD=self._backbone.encode_pixels(pixels_BCHW),
        )

    def prefetch(self, images_M: np.ndarray, seed: int) -> None:
        """Nothing: image files are read in the order of batches."""
