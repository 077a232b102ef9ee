"""Pillow: the reference that the other decoders are compared with, and the slowest of them."""

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

from fdbpl.pipeline.loading.cut_decoder import OneByOneDecoder, check_decoded_size
from fdbpl.pipeline.loading.cuts import Cuts
from fdbpl.pipeline.loading.image_file import ImageFile, decode_with_pillow


class PillowDecoder(OneByOneDecoder[Image.Image]):
    """Decodes and resizes with Pillow, on one core."""

    name = "pillow"
    version = PIL.__version__

    def _decode(self, file: ImageFile) -> Image.Image:
        image = decode_with_pillow(file)
        check_decoded_size(file, image.height, image.width)
        return image

    def _cut_one(self, decoded: Image.Image, cuts: Cuts, b: int) -> Tensor:
        top, left, height, width = cuts.boxes_B4[b].tolist()
        resized_height, resized_width = cuts.resized_B2[b].tolist()
        corner_top, corner_left = cuts.corners_B2[b].tolist()
        # Cropped first: with `resize(box=...)` the filter would see pixels beyond the window.
        window = decoded.crop((left, top, left + width, top + height))
        # Rows first: left to itself, Pillow takes the columns of tall windows first from version 13 on, and rounds
        # otherwise.
        window = window.resize((resized_width, height), Image.Resampling.BICUBIC)
        window = window.resize((resized_width, resized_height), Image.Resampling.BICUBIC)
        window = window.crop((corner_left, corner_top, corner_left + cuts.size, corner_top + cuts.size))
        if cuts.flips_B[b]:
            window = window.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(window)).permute(2, 0, 1)
