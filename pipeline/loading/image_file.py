"""One image file read whole: its bytes, and what its header says.

The header decides who decodes it. JPEG, and PNG of at most 8 bits, come out of every decoder as out of
Pillow; all other kinds (16-bit PNG, GIF, BMP, WebP, ...) are decoded by Pillow in every backend, because
one of the others differs there or cannot. Pillow also decodes what another decoder refuses, so that all agree on which
files are bad. Costs one read and some 20 microseconds; pixels are not looked at, so that a JPEG cut short shows only
when it is decoded, or by `check_pixels`.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fdbpl.pipeline.loading.decoder import UnreadableImage
from fdbpl.pipeline.loading.open_image import check_png, open_image
from fdbpl.pipeline.shards.files import read_file

# What Pillow raises for files that it cannot read, by the plugins at fault; never a bare Exception.
PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # where warnings are errors
)

# In a PNG file the bit depth is at a fixed place, in the chunk that comes first; Pillow's mode hides it.
_PNG_BIT_DEPTH = 24


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """The bytes of an image file and its header: size in stored pixels (EXIF rotation not applied) and kind.

    `index` is the file's position in the caller's list, for error messages. `is_native` says that every
    backend decodes this kind as Pillow does; `is_progressive` that it is a JPEG sent in several passes.
    """

    index: int
    path: Path
    data: bytes
    height: int
    width: int
    kind: str
    is_native: bool
    is_progressive: bool = False

    @property
    def kind_in_words(self) -> str:
        """Its kind as people say it."""
        return f"16-bit {self.kind}" if self.kind == "PNG" and not self.is_native else self.kind

    def unreadable(self, reason: str | Exception) -> UnreadableImage:
        """The error to raise when this file's pixels cannot be had."""
        in_one_line = " ".join(str(reason).split()) or type(reason).__name__
        return UnreadableImage(self.index, self.path, in_one_line)


def read_image_file(path: Path, index: int) -> ImageFile:
    """Read a file, or a member of a tar shard (`shards.files`), and its header.

    Raises:
        UnreadableImage: No such file, not an image, more than `MAX_PIXELS`, or a PNG with a damaged chunk.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise UnreadableImage(index, path, error.strerror or str(error)) from error
    if not data:
        raise UnreadableImage(index, path, "the file is empty")
    try:
        with open_image(data) as image:
            width, height = image.size
            kind = image.format or "unknown"
            is_progressive = "progressive" in image.info
        check_png(data)
    except PILLOW_ERRORS as error:
        raise UnreadableImage(index, path, " ".join(str(error).split()) or type(error).__name__) from error
    is_native = kind == "JPEG" or (kind == "PNG" and data[_PNG_BIT_DEPTH] <= 8)
    return ImageFile(
        index=index,
        path=path,
        data=data,
        height=height,
        width=width,
        kind=kind,
        is_native=is_native,
        is_progressive=is_progressive,
    )


def decode_with_pillow(file: ImageFile) -> Image.Image:
    """Decode to RGB, the first frame of an animation, as stored (no EXIF rotation, transparency dropped).

    Raises:
        UnreadableImage: The pixels are cut short or damaged.
    """
    try:
        with open_image(file.data) as image:
            # The RGB values are the same without it, and Pillow would warn of palettes that have one.
            image.info.pop("transparency", None)
            return image.convert("RGB")
    except PILLOW_ERRORS as error:
        raise file.unreadable(error) from error


def check_pixels(file: ImageFile) -> None:
    """Decode all of the file's data, at the smallest size where the format allows it: half a decode of a JPEG.

    Raises:
        UnreadableImage: The pixels are cut short or damaged.
    """
    try:
        with open_image(file.data) as image:
            image.draft("RGB", (1, 1))
            image.load()
    except PILLOW_ERRORS as error:
        raise file.unreadable(error) from error
