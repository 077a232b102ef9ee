"""One image file read whole: its bytes, and what its header says.

The header decides who decodes it. JPEG, and PNG of at most 8 bits, come out of every decoder as out of
Pillow; all other kinds (16-bit PNG, GIF, BMP, WebP, ...) are decoded by Pillow in every backend, because
one of the others differs there or cannot. Costs one read and some 20 microseconds; pixels are not looked
at, so that a file cut short shows only when it is decoded, or by `check_pixels`.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from fdbpl.pipeline.loading.decoder import UnreadableImage
from fdbpl.pipeline.shards.files import read_file

# What Pillow raises for files that it cannot read, by the plugins at fault; never a bare Exception.
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)

# In a PNG file the bit depth is at a fixed place, in the chunk that comes first; Pillow's mode hides it.
_PNG_BIT_DEPTH = 24


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """The bytes of an image file and its header: size in stored pixels (EXIF rotation not applied) and kind.

    `index` is the file's position in the caller's list, for error messages. `is_native` says that every
    backend decodes this kind as Pillow does.
    """

    index: int
    path: Path
    data: bytes
    height: int
    width: int
    kind: str
    is_native: bool

    def unreadable(self, reason: str | Exception) -> UnreadableImage:
        """The error to raise when this file's pixels cannot be had."""
        in_one_line = " ".join(str(reason).split()) or type(reason).__name__
        return UnreadableImage(self.index, self.path, in_one_line)


def read_image_file(path: Path, index: int) -> ImageFile:
    """Read a file, or a member of a tar shard (`shards.files`), and its header.

    Raises:
        UnreadableImage: No such file, not an image, or more pixels than Pillow accepts.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise UnreadableImage(index, path, error.strerror or str(error)) from error
    if not data:
        raise UnreadableImage(index, path, "the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            kind = image.format or "unknown"
    except UnidentifiedImageError as error:
        raise UnreadableImage(index, path, "not an image of a known kind") from error
    except PILLOW_ERRORS as error:
        raise UnreadableImage(index, path, str(error)) from error
    is_native = kind == "JPEG" or (kind == "PNG" and data[_PNG_BIT_DEPTH] <= 8)
    return ImageFile(index=index, path=path, data=data, height=height, width=width, kind=kind, is_native=is_native)


def decode_with_pillow(file: ImageFile) -> Image.Image:
    """Decode to RGB, the first frame of an animation, as stored (no EXIF rotation, transparency dropped).

    Raises:
        UnreadableImage: The pixels are cut short or damaged.
    """
    try:
        with Image.open(io.BytesIO(file.data)) as image:
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
        with Image.open(io.BytesIO(file.data)) as image:
            image.draft("RGB", (1, 1))
            image.load()
    except PILLOW_ERRORS as error:
        raise file.unreadable(error) from error


def explain(file: ImageFile, error: Exception) -> UnreadableImage:
    """The error to raise when another decoder failed: with Pillow's reason, the clearest, if it fails too."""
    try:
        decode_with_pillow(file)
    except UnreadableImage as unreadable:
        return unreadable
    return file.unreadable(error)
