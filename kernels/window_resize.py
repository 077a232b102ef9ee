"""Windows of images, resized to squares: Pillow's antialiased bicubic to the last bit, on a GPU by two Triton kernels.
(Pillow to version 12; from 13 on it begins with the columns of tall windows, and its rounding between differs there.)

First along rows, then along columns, rounded to 8 bits between, all in integers (`cubic_weights`): a crop is the same
whatever batch it is in, and on whatever device. The kernels read the decoded images where they lie. Cost: one read of
each window, and an 8-bit intermediate of its rows, of which at most INTERMEDIATE_BYTES are held at a time.
Letters: B windows, S side of a crop, T taps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fdbpl.kernels.cubic_weights import PRECISION_BITS, CubicWeights, cubic_weights, most_taps

INTERMEDIATE_BYTES = 2**28
_HALF = 1 << (PRECISION_BITS - 1)


@dataclass(frozen=True, kw_only=True)
class WindowTable:
    """B windows of a list of images.

    Attributes, all int64: image_B position in the list; boxes_B4 (top, left, height, width), inside the image;
    resized_B2 (height, width) that the whole window is resized to; corners_B2 (top, left) of the square that is wanted
    of that; flips_B 1 where the square is mirrored left to right.
    """

    image_B: NDArray[np.int64]
    boxes_B4: NDArray[np.int64]
    resized_B2: NDArray[np.int64]
    corners_B2: NDArray[np.int64]
    flips_B: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.image_B)

    def part(self, rows: slice) -> "WindowTable":
        return WindowTable(**{name: values[rows] for name, values in vars(self).items()})


def resize_windows(images: Sequence[Tensor], windows: WindowTable, size: int) -> Tensor:
    """Cut and resize on the images' device.

    Args:
        images: uint8 [H, W, 3], contiguous, all on one device.
        windows: what to cut.
        size: S.

    Returns:
        uint8 [B, 3, S, S].

    Raises:
        ValueError: an image of another form.
    """
    for number, image in enumerate(images):
        if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[2] != 3 or not image.is_contiguous():
            raise ValueError(
                f"image {number}: found {image.dtype} {tuple(image.shape)}, expected contiguous uint8 [H, W, 3]"
            )
    device = images[0].device
    crops_BCHW = torch.empty((len(windows), 3, size, size), dtype=torch.uint8, device=device)
    resize = _resize_by_triton if device.type == "cuda" else _resize_by_torch
    for rows in _pieces(windows, size):
        part = windows.part(rows)
        resize(images, part, *_both_axes(part, size, device), crops_BCHW[rows])
    return crops_BCHW


def _pieces(windows: WindowTable, size: int) -> Iterator[slice]:
    """Runs of windows whose intermediates fit; one that is too large by itself is alone."""
    start, held = 0, 0
    for b, height in enumerate(windows.boxes_B4[:, 2].tolist()):
        if held and held + height * 3 * size > INTERMEDIATE_BYTES:
            yield slice(start, b)
            start, held = b, 0
        held += height * 3 * size
    yield slice(start, len(windows))


def _both_axes(windows: WindowTable, size: int, device: torch.device) -> tuple[CubicWeights, CubicWeights]:
    """Weights along rows (of the width), and along columns (of the height)."""
    numbers = np.concatenate([windows.boxes_B4[:, 2:], windows.resized_B2, windows.corners_B2], axis=1)
    values_6B = _moved(torch.from_numpy(np.ascontiguousarray(numbers.T)), device)
    taps = [
        max(map(most_taps, windows.boxes_B4[:, 2 + axis].tolist(), windows.resized_B2[:, axis].tolist()))
        for axis in (0, 1)
    ]
    columns, rows = (
        cubic_weights(values_6B[axis], values_6B[2 + axis], values_6B[4 + axis], size, taps[axis]) for axis in (0, 1)
    )
    return rows, columns


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _resize_by_torch(
    images: Sequence[Tensor], windows: WindowTable, rows: CubicWeights, columns: CubicWeights, crops_BCHW: Tensor
) -> None:
    """The reference of the kernels."""
    for b in range(len(windows)):
        top, left, height, width = windows.boxes_B4[b].tolist()
        window_HWC = images[int(windows.image_B[b])][top : top + height, left : left + width].to(torch.int32)
        narrow_CHS = _weighted(window_HWC.permute(2, 0, 1), rows, b)
        crop_CSS = _weighted(narrow_CHS.transpose(1, 2), columns, b).transpose(1, 2)
        crops_BCHW[b] = crop_CSS.flip(-1) if windows.flips_B[b] else crop_CSS


def _weighted(values: Tensor, axis: CubicWeights, b: int) -> Tensor:
    """Resize the last axis of int32 values to S values of 0..255."""
    total = torch.full((*values.shape[:-1], axis.first_BS.shape[1]), _HALF, dtype=torch.int32, device=values.device)
    for tap in range(int(axis.taps_B[b])):
        places_S = (axis.first_BS[b] + tap).clamp(max=values.shape[-1] - 1)
        total += values[..., places_S.long()] * axis.weights_BTS[b, tap]
    return (total >> PRECISION_BITS).clamp(0, 255)


def _resize_by_triton(
    images: Sequence[Tensor], windows: WindowTable, rows: CubicWeights, columns: CubicWeights, crops_BCHW: Tensor
) -> None:
    from fdbpl.kernels.window_resize_triton import launch

    addresses_N = np.array([image.data_ptr() for image in images], dtype=np.int64)
    strides_N = np.array([image.stride(0) for image in images], dtype=np.int64)
    heights_B = windows.boxes_B4[:, 2]
    size = crops_BCHW.shape[-1]
    starts_B = np.concatenate([[0], np.cumsum(heights_B * 3 * size)])
    table = np.stack(
        [
            addresses_N[windows.image_B]
            + windows.boxes_B4[:, 0] * strides_N[windows.image_B]
            + 3 * windows.boxes_B4[:, 1],
            strides_N[windows.image_B],
            heights_B,
            starts_B[:-1],
            windows.flips_B,
        ],
        axis=1,
    )
    launch(
        _moved(torch.from_numpy(table), crops_BCHW.device),
        rows,
        columns,
        torch.empty(int(starts_B[-1]), dtype=torch.uint8, device=crops_BCHW.device),
        crops_BCHW,
        most_rows=int(heights_B.max()),
    )
