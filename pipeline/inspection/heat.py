"""Where in an image the informative crops lie: the mean weight of those that cover each spot, to be laid over it.

Letters: R rows, K columns of the grid.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fdbpl.pipeline.inspection.crops import Crop

_NUM_CELLS = 48
# The tones of cards.css, of crops that tell nothing and of those that tell all.
_LOW, _HIGH = np.array([0x4F, 0x7F, 0xE0], np.float64), np.array([0xF2, 0xA4, 0x13], np.float64)
_OPACITY = 165


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat:
    """Mean weight of the crops that cover each cell, float64 [R, K]; NaN where none does. From `least` to `most`."""

    mean_RK: NDArray[np.float64]

    @property
    def least(self) -> float:
        return float(np.nanmin(self.mean_RK))

    @property
    def most(self) -> float:
        return float(np.nanmax(self.mean_RK))

    def png(self) -> bytes:
        """From blue, the least, to amber, the most; nothing where no crop is."""
        spread = max(self.most - self.least, 1e-9)
        part_RK1 = np.nan_to_num((self.mean_RK - self.least) / spread)[..., None]
        colours_RK3 = (1 - part_RK1) * _LOW + part_RK1 * _HIGH
        alpha_RK1 = np.where(np.isnan(self.mean_RK), 0, _OPACITY)[..., None]
        pixels_RK4 = np.concatenate([colours_RK3, alpha_RK1], axis=-1).round().astype(np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels_RK4).save(content, format="PNG")
        return content.getvalue()


def heat(crops: Sequence[Crop]) -> Heat:
    """Of crops of one image. A cell counts as covered where its middle is."""
    height, width = crops[0].size
    middle = (np.arange(_NUM_CELLS) + 0.5) / _NUM_CELLS
    y_R, x_K = middle * height, middle * width
    total_RK, count_RK = np.zeros((_NUM_CELLS, _NUM_CELLS)), np.zeros((_NUM_CELLS, _NUM_CELLS))
    for crop in crops:
        top, left, box_height, box_width = crop.box
        covers_R, covers_K = (y_R >= top) & (y_R < top + box_height), (x_K >= left) & (x_K < left + box_width)
        covers_RK = covers_R[:, None] & covers_K[None, :]
        total_RK += covers_RK * crop.weight
        count_RK += covers_RK
    return Heat(mean_RK=np.where(count_RK > 0, total_RK / np.maximum(count_RK, 1), np.nan))
