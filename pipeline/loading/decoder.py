"""What a decoder promises, and the choice of one.

A decoder turns files into uint8 crops. Three keep the promise (`pillow` is the reference, `torchvision`
the fastest on a CPU, `dali` the one for a GPU); they differ by at most 4 grey levels and 0.3 on average
on the same windows, so that crops which one of them cut may be cut again by another. The invariant: a
window is exactly the integer rectangle that was asked for, and an image that cannot be read is an error,
never another image.

Axes: B crops, 4 (top, left, height, width), H W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from fdbpl.pipeline.loading.image_file import ImageFile

# How far any decoder's pixels may be from Pillow's in the same window, of 255: at most, and on average over a crop.
LARGEST_DIFFERENCE, MEAN_DIFFERENCE = 4, 0.3
# Of a list in a message: enough for a person, few enough for a record.
_NUM_SHOWN = 50


class UnreadableImage(ValueError):
    """One image that cannot be read: its position in the list that was given, its path, and why."""

    def __init__(self, index: int, path: Path | str, reason: str) -> None:
        super().__init__(index, path, reason)
        self.index = index
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"image {self.index} ({self.path}) cannot be read: {self.reason}"


class UnreadableImages(ValueError):
    """Every image of a list that cannot be read, in the list's order, each with index, path and reason."""

    def __init__(
        self, images: Sequence[UnreadableImage], num_images: int, advice: str = "mend or remove them", more: str = ""
    ) -> None:
        """`advice` says what to do, `more` where all of them are listed, for the message shows the first ones only."""
        super().__init__(images, num_images, advice, more)
        self.images = tuple(images)
        self.num_images = num_images
        self.advice = advice
        self.more = more

    def __str__(self) -> str:
        lines = [str(image) for image in self.images[:_NUM_SHOWN]]
        if len(self.images) > _NUM_SHOWN:
            lines.append(f"... and {len(self.images) - _NUM_SHOWN} more{self.more}")
        heading = f"{len(self.images)} of {self.num_images} images cannot be read; {self.advice}:"
        return "\n  ".join([heading, *lines])


CheckFile = Callable[["ImageFile"], None]


class Decoder(Protocol):
    """Reads image files and cuts crops of one size from them, as uint8 tensors on `device`.

    `name` and `version` say which code cuts the pixels (for a manifest), `reason` why this decoder was
    chosen.
    """

    name: str
    version: str
    reason: str
    device: torch.device

    def windows(
        self,
        paths: Sequence[Path],
        image_B: NDArray[np.integer],
        boxes_B4: NDArray[np.integer],
        flips_B: NDArray[np.bool_],
        size: int,
        *,
        check: "CheckFile | None" = None,
    ) -> Tensor:
        """Cut window b from `paths[image_B[b]]`, resize it to a square, and mirror it where `flips_B[b]`.

        Each file is read and decoded once, however many windows it has, in whatever order they come: one
        crop of each of B images and K crops of each image are the same call.

        Args:
            paths: The files; EXIF rotation is not applied, transparency is dropped.
            image_B: Integers in [0, len(paths)).
            boxes_B4: Integer pixels (top, left, height, width), each inside its image.
            flips_B: Whether to mirror left and right, after the resize.
            size: Side of the result in pixels; the resize is bicubic and antialiased.
            check: Called with each file that was read, in any thread; raises UnreadableImage where it is not wanted.

        Returns:
            uint8 [B, 3, size, size] on `device`, RGB.

        Raises:
            UnreadableImages: Files cannot be read; all of the call are listed.
            ValueError: A window does not lie in its image, or the arguments do not fit one another.
        """

    def center(self, paths: Sequence[Path], size: int) -> Tensor:
        """Resize each image's shorter side to `size` (bicubic, antialiased) and cut the square in the middle.

        This is the transform for testing of CLIP models, with its rounding; grey and palette images are
        made RGB first.

        Returns:
            uint8 [len(paths), 3, size, size] on `device`, RGB.

        Raises:
            UnreadableImages: Files cannot be read; all of the call are listed.
        """


@lru_cache(maxsize=4)
def kept_decoder(name: str, device: str) -> Decoder:
    """`make_decoder`, once a process: on a GPU DALI takes 2 s to make ready, which a task should not pay for each of
    its blocks."""
    return make_decoder(name, device)


def make_decoder(name: str = "auto", device: torch.device | str = "cpu") -> Decoder:
    """Make the decoder `name` (`auto`, `pillow`, `torchvision` or `dali`) that delivers to `device`.

    `auto` is DALI for a CUDA device and torchvision for the CPU; the decoder's `reason` says so.

    Raises:
        ValueError: An unknown name, or a decoder that is not installed.
    """
    device = torch.device(device)
    reason = f"{name} was asked for"
    if name == "auto" and device.type == "cuda":
        name, reason = "dali", "auto: DALI decodes on the CUDA device, where crops are cut too"
    elif name == "auto":
        name, reason = "torchvision", "auto: torchvision is the fastest on the CPU"
    if name not in _MAKERS:
        raise ValueError(f"unknown decoder {name!r}; there are auto, {', '.join(_MAKERS)}")
    return _MAKERS[name](device, reason)


# Each backend is imported when it is asked for: DALI is missing on some systems, and slow to import.
def _pillow(device: torch.device, reason: str) -> Decoder:
    from fdbpl.pipeline.loading.pillow_decoder import PillowDecoder

    return PillowDecoder(device, reason)


def _torchvision(device: torch.device, reason: str) -> Decoder:
    from fdbpl.pipeline.loading.torchvision_decoder import TorchvisionCudaDecoder, TorchvisionDecoder

    return TorchvisionCudaDecoder(device, reason) if device.type == "cuda" else TorchvisionDecoder(device, reason)


def _dali(device: torch.device, reason: str) -> Decoder:
    try:
        from fdbpl.pipeline.loading.dali_decoder import DaliDecoder
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the dali decoder needs NVIDIA DALI, which is not installed here ({error}): "
            "pip install nvidia-dali-cuda130, or use the torchvision decoder"
        ) from error
    return DaliDecoder(device, reason)


_MAKERS: Mapping[str, Callable[[torch.device, str], Decoder]] = {
    "pillow": _pillow,
    "torchvision": _torchvision,
    "dali": _dali,
}
