"""Decoding a batch of images to the device, and cutting them there: on a GPU by our kernels, on a CPU by torch.

Of decoded images at most `AT_ONCE` are held, whatever the number of files and crops. A cut does not depend on the batch
that it is made in.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fdbpl.kernels.window_resize import WindowTable, resize_windows
from fdbpl.pipeline.loading.cut_decoder import CutDecoder, check_decoded_size
from fdbpl.pipeline.loading.cuts import Cuts
from fdbpl.pipeline.loading.image_file import ImageFile
from fdbpl.pipeline.loading.threads import in_threads

AT_ONCE = {"cuda": 64, "cpu": 16}


class BatchDecoder(CutDecoder):
    """A backend says how a batch is decoded."""

    def _cut(self, files: Sequence[ImageFile], cuts: Cuts) -> Tensor:
        crops_BCHW = torch.empty(
            (len(cuts), 3, cuts.size, cuts.size),
            dtype=torch.uint8,
            device=self.device,
        )
        at_once = AT_ONCE[self.device.type]
        for first in range(0, len(files), at_once):
            batch = files[first : first + at_once]
            rows_R = np.flatnonzero((cuts.image_B >= first) & (cuts.image_B < first + len(batch)))
            if len(rows_R):
                part = cuts.part(rows_R, first)
                crops_BCHW[_place(rows_R)] = self._cut_images(self._decode_checked(batch), part)
            if self.device.type == "cuda":
                # The next batch takes the memory of this one's images back.
                torch.cuda.current_stream(self.device).synchronize()
        return crops_BCHW

    def _check(self, file: ImageFile) -> None:
        self._decode_checked([file])

    def _decode_checked(self, files: Sequence[ImageFile]) -> list[Tensor]:
        images = self._decode(files)
        for file, image in zip(files, images, strict=True):
            check_decoded_size(file, image.shape[0], image.shape[1])
        return images

    @abstractmethod
    def _decode(self, files: Sequence[ImageFile]) -> list[Tensor]:
        """Decode at most `AT_ONCE` files to contiguous uint8 [H, W, 3] on the device; raise UnreadableImage."""

    def _cut_images(self, images: Sequence[Tensor], cuts: Cuts) -> Tensor:
        if self.device.type == "cuda":
            table = WindowTable(
                image_B=cuts.image_B,
                boxes_B4=cuts.boxes_B4,
                resized_B2=cuts.resized_B2,
                corners_B2=cuts.corners_B2,
                flips_B=cuts.flips_B.astype(np.int64),
            )
            return resize_windows(images, table, cuts.size)
        crops_BCHW = torch.empty((len(cuts), 3, cuts.size, cuts.size), dtype=torch.uint8)

        def cut(b: int) -> None:
            crops_BCHW[b] = cut_by_torch(images[int(cuts.image_B[b])].permute(2, 0, 1), cuts, b)

        in_threads(cut, range(len(cuts)))
        return crops_BCHW


def cut_by_torch(pixels_CHW: Tensor, cuts: Cuts, b: int) -> Tensor:
    """Make cut b of an image on the CPU by torch's uint8 resize: uint8 [3, size, size]."""
    top, left, height, width = cuts.boxes_B4[b].tolist()
    corner_top, corner_left = cuts.corners_B2[b].tolist()
    window_CHW: Tensor = interpolate(
        pixels_CHW[None, :, top : top + height, left : left + width],
        cuts.resized_B2[b].tolist(),
        mode="bicubic",
        antialias=True,
    )[0]
    window_CHW = window_CHW[:, corner_top : corner_top + cuts.size, corner_left : corner_left + cuts.size]
    return window_CHW.flip(-1) if cuts.flips_B[b] else window_CHW


def _place(rows_R: np.ndarray) -> slice | np.ndarray:
    """Rows in a row as a slice: an index would have to travel to the device first."""
    first, last = int(rows_R[0]), int(rows_R[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows_R) else rows_R
