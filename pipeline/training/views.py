"""Where views come from: what brings the pixels and the features that a learner needs for (image, crop seed) pairs."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.loading.batches import DEPTH
from fdbpl.pipeline.loading.prefetch import prefetch_views
from fdbpl.pipeline.loading.transfer import to_device
from fdbpl.pipeline.loading.windows import Pixels
from fdbpl.pipeline.values import Views


class ViewSource:
    """Brings views with what is needed of pixels and features, the features from a store or from the frozen encoder.

    Views come in two halves, so that the slow one can be done ahead, in another thread, while a student trains.
    """

    def __init__(
        self,
        backbone: Backbone,
        needs: Collection[str],
        *,
        stored: tuple[Reader, str] | None = None,
        pixels: Pixels | None = None,
    ) -> None:
        """`stored` is a reader and the array of the backbone's features in it: without it the encoder is run on the
        pixels. Pixels are cut where they are asked for, or where features must be made of them."""
        self._backbone, self._stored = backbone, stored
        self._encodes = "features" in needs and stored is None
        self._pixels = pixels if "pixels" in needs or self._encodes else None
        assert self._pixels is not None or not (self._encodes or "pixels" in needs), "whoever gathers brings pixels"

    @property
    def cuts_pixels(self) -> bool:
        """Whether image files are read for views."""
        return self._pixels is not None

    @property
    def ahead(self) -> int:
        """How many chunks of views are brought ahead."""
        return DEPTH if self.cuts_pixels else 1

    @property
    def row_bytes(self) -> int:
        """Of a view's stored features."""
        if self._stored is None:
            return 0
        reader, array = self._stored
        return reader.arrays[array].row_bytes

    def bring(
        self,
        images_B: np.ndarray,
        seeds_B: np.ndarray,
        labels_B: np.ndarray,
        label_rows: tuple[Tensor, ...] = (),
    ) -> Views:
        """The views of these image ids under these crop seeds, as far as no model is needed."""
        device = self._backbone.device
        views = Views(
            image_ids_B=torch.from_numpy(images_B),
            seeds_B=torch.from_numpy(seeds_B),
            labels_B=to_device(torch.from_numpy(labels_B), device),
            label_rows=label_rows,
        )
        if self._pixels is not None:
            views = replace(views, pixels_BCHW=self._pixels(images_B, seeds_B, self._backbone.image_size))
        if self._stored is not None:
            reader, array = self._stored
            features = torch.from_numpy(reader.read(array, images_B, seeds_B))
            views = replace(views, features_BD=to_device(features, device))
        return views

    def complete(self, views: Views) -> Views:
        """The same with features in float32, by the student's frozen encoder where they are not stored."""
        if not self._encodes:
            features_BD = views.features_BD
            return views if features_BD is None else replace(views, features_BD=features_BD.to(torch.float32))
        assert views.pixels_BCHW is not None, "brought by this very source"
        return replace(views, features_BD=self._backbone.encode_pixels(views.pixels_BCHW))

    def prefetch(self, images_M: np.ndarray, seeds_M: np.ndarray) -> None:
        """Begin to bring in what an epoch over these views will ask for; returns at once. Image files are read in the
        order of batches."""
        if self._stored is not None:
            reader, array = self._stored
            prefetch_views(reader, (array,), images_M, seeds_M)
