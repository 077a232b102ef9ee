"""What to cut from which image: the one description that every backend carries out.

A cut is: take `box` of the image, resize it to `resized` pixels, take the square whose corner is at
`corner`, and mirror it or not. A training window is resized to the square itself (corner 0, 0); the
transform for testing takes the whole image and a square from its middle. Every box lies inside its image:
that is checked here, before anything is decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fdbpl.pipeline.loading.image_file import ImageFile

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """B cuts of one size: image, (top, left, height, width), (height, width), (top, left), mirrored."""

    image_B: IntArray
    boxes_B4: IntArray
    resized_B2: IntArray
    corners_B2: IntArray
    flips_B: NDArray[np.bool_]
    size: int

    def __len__(self) -> int:
        return len(self.image_B)

    def part(self, rows_R: NDArray[np.int64], first_image: int) -> "Cuts":
        """Some of the cuts, their images counted from `first_image`."""
        return Cuts(
            image_B=self.image_B[rows_R] - first_image,
            boxes_B4=self.boxes_B4[rows_R],
            resized_B2=self.resized_B2[rows_R],
            corners_B2=self.corners_B2[rows_R],
            flips_B=self.flips_B[rows_R],
            size=self.size,
        )


def window_cuts(
    files: Sequence[ImageFile], image_B: ArrayLike, boxes_B4: ArrayLike, flips_B: ArrayLike, size: int
) -> Cuts:
    """Describe windows that become squares of `size`; refuse those that do not lie in their image."""
    image_B = _integers(image_B, "image_B")
    num_cuts = len(image_B)
    boxes_B4 = _integers(boxes_B4, "boxes_B4").reshape(-1, 4)
    flips_B = np.asarray(flips_B, dtype=np.bool_)
    if image_B.ndim != 1 or len(boxes_B4) != num_cuts or flips_B.shape != (num_cuts,):
        raise ValueError(
            f"image_B, boxes_B4 and flips_B must tell of equally many windows; found shapes "
            f"{image_B.shape}, {boxes_B4.shape}, {flips_B.shape}"
        )
    _check_size(size)
    _check_images(image_B, len(files))
    _check_boxes(files, image_B, boxes_B4)
    return Cuts(
        image_B=image_B,
        boxes_B4=boxes_B4,
        resized_B2=np.full((num_cuts, 2), size, dtype=np.int64),
        corners_B2=np.zeros((num_cuts, 2), dtype=np.int64),
        flips_B=flips_B,
        size=size,
    )


def center_cuts(files: Sequence[ImageFile], size: int) -> Cuts:
    """Describe the transform for testing: shorter side to `size`, then the square in the middle.

    The rounding is torchvision's, which open_clip uses: the longer side is rounded down, the corner to
    the even half.
    """
    _check_size(size)
    boxes = [(0, 0, file.height, file.width) for file in files]
    resized = [_shorter_side_to(size, file.height, file.width) for file in files]
    corners = [(round((height - size) / 2), round((width - size) / 2)) for height, width in resized]
    return Cuts(
        image_B=np.arange(len(files), dtype=np.int64),
        boxes_B4=np.array(boxes, dtype=np.int64).reshape(-1, 4),
        resized_B2=np.array(resized, dtype=np.int64).reshape(-1, 2),
        corners_B2=np.array(corners, dtype=np.int64).reshape(-1, 2),
        flips_B=np.zeros(len(files), dtype=np.bool_),
        size=size,
    )


def _shorter_side_to(size: int, height: int, width: int) -> tuple[int, int]:
    longer = int(size * max(height, width) / min(height, width))
    return (size, longer) if height <= width else (longer, size)


def _integers(values: ArrayLike, name: str) -> IntArray:
    array: NDArray[Any] = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers (fractions replay wrongly); found {array.dtype}")
    return array.astype(np.int64)


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"the size of a crop must be at least 1 pixel; found {size}")


def _check_images(image_B: IntArray, num_images: int) -> None:
    outside = np.flatnonzero((image_B < 0) | (image_B >= num_images))
    if len(outside):
        b = int(outside[0])
        raise ValueError(f"window {b} is of image {image_B[b]}, but {num_images} paths were given")


def _check_boxes(files: Sequence[ImageFile], image_B: IntArray, boxes_B4: IntArray) -> None:
    sizes_N2 = np.array([(file.height, file.width) for file in files], dtype=np.int64).reshape(-1, 2)
    corners_B2, extents_B2 = boxes_B4[:, :2], boxes_B4[:, 2:]
    is_inside = (corners_B2 >= 0) & (extents_B2 >= 1) & (corners_B2 + extents_B2 <= sizes_N2[image_B])
    outside = np.flatnonzero(~is_inside.all(axis=1))
    if len(outside):
        b = int(outside[0])
        file = files[image_B[b]]
        top, left, height, width = boxes_B4[b].tolist()
        raise ValueError(
            f"window {b} (top {top}, left {left}, height {height}, width {width}) does not lie in image "
            f"{file.index} ({file.path}), which is {file.height} high and {file.width} wide; was it replaced?"
        )
