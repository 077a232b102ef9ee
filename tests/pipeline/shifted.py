"""The fault that comparisons of online and cached supervision must see: crops one pixel beside the teacher's."""

from dataclasses import replace

import numpy as np

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.loading.decoder import make_decoder
from fdbpl.pipeline.loading.windows import Pixels, StoredWindows, Windows
from fdbpl.pipeline.training.ingredients import Ingredients
from fdbpl.pipeline.training.supervision import LikeliestClasses, OnlineTeacher, Supervision


class Shifted:
    """Windows one pixel to the left, where there is room."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def __call__(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes_B4, flips_B = self._windows(images_B, seeds_B)
        boxes_B4 = boxes_B4.copy()
        boxes_B4[:, 1] -= np.where(boxes_B4[:, 1] > 0, 1, 0)
        return boxes_B4, flips_B


def with_shifted_teacher(online: Ingredients, config: RunConfig, reader: Reader) -> Ingredients:
    """The same student, whose online teacher looks one pixel to the left of the store's windows; its own views are
    those of the store."""
    pixels = Pixels(make_decoder("torchvision"), image_root(config), reader.images, Shifted(StoredWindows(reader)))
    return replace(online, supervision=_shifted(online.supervision, pixels))


def _shifted(supervision: Supervision, pixels: Pixels) -> Supervision:
    if isinstance(supervision, LikeliestClasses):
        return LikeliestClasses(_shifted(supervision._whole, pixels), supervision._most)
    assert isinstance(supervision, OnlineTeacher)
    shifted = object.__new__(OnlineTeacher)
    vars(shifted).update(vars(supervision) | {"_pixels": pixels})
    return shifted
