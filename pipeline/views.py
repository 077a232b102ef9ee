"""Sources of views: what brings the features (or pixels) that a learner needs for (image, crop seed) pairs."""

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.batches import DEPTH
from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.prefetch import prefetch_epoch
from fdbpl.pipeline.transfer import to_device
from fdbpl.pipeline.values import Views
from fdbpl.pipeline.windows import Pixels


class ViewSource(Protocol):
    """Views come in two halves, so that the slow one can be done ahead, in another thread, while a student trains.

    `ahead` says for how many batches that is worth its while; 0 where views come at once.
    """

    ahead: int

    def bring(self, images_B: np.ndarray, seeds_B: np.ndarray, labels_B: np.ndarray) -> Views:
        """The views of these image ids under these crop seeds, as far as no model is needed."""

    def complete(self, views: Views) -> Views:
        """The same with what the student's frozen encoder makes of them."""

    def prefetch(self, images_M: np.ndarray, seed: int) -> None:
        """Begin to bring in what an epoch over these images under one crop seed will ask for; returns at once."""


def views_of(source: ViewSource, images_B: np.ndarray, seeds_B: np.ndarray, labels_B: np.ndarray) -> Views:
    """Both halves at once."""
    return source.complete(source.bring(images_B, seeds_B, labels_B))


class StoredFeatures:
    """The frozen student's features as a pass stored them: no image is touched."""

    ahead = 0

    def __init__(self, reader: Reader, array: str, device: torch.device) -> None:
        self._reader, self._array, self._device = reader, array, device

    def bring(self, images_B: np.ndarray, seeds_B: np.ndarray, labels_B: np.ndarray) -> Views:
        features = torch.from_numpy(self._reader.read(self._array, images_B, seeds_B))
        return Views(
            image_ids_B=torch.from_numpy(images_B),
            seeds_B=torch.from_numpy(seeds_B),
            labels_B=to_device(torch.from_numpy(labels_B), self._device),
            features_BD=to_device(features, self._device).to(torch.float32),
        )

    def complete(self, views: Views) -> Views:
        return views

    def prefetch(self, images_M: np.ndarray, seed: int) -> None:
        prefetch_epoch(self._reader, (self._array,), images_M, seed)


class LiveFeatures:
    """Pixels cut for every step, ahead of it, and run through the frozen student encoder."""

    ahead = DEPTH

    def __init__(self, backbone: Backbone, pixels: Pixels) -> None:
        self._backbone, self._pixels = backbone, pixels

    def bring(self, images_B: np.ndarray, seeds_B: np.ndarray, labels_B: np.ndarray) -> Views:
        return Views(
            image_ids_B=torch.from_numpy(images_B),
            seeds_B=torch.from_numpy(seeds_B),
            labels_B=to_device(torch.from_numpy(labels_B), self._backbone.device),
            pixels_BCHW=self._pixels(images_B, seeds_B, self._backbone.image_size),
        )

    def complete(self, views: Views) -> Views:
        assert views.pixels_BCHW is not None, "brought by this very source"
        return replace(views, features_BD=self._backbone.encode_pixels(views.pixels_BCHW))

    def prefetch(self, images_M: np.ndarray, seed: int) -> None:
        """Nothing: image files are read in the order of batches."""
