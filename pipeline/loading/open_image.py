"""Opening the bytes of an image with Pillow, under one limit of pixels that is ours.

`Image.open` has a check of its own, which warns beyond one limit and raises beyond another; both are settings of the
whole process. Here an image of too many pixels is refused by its header, before anything is decoded, and no warning is
given. The limit is the one at which Pillow begins to warn, so that what is opened here passes its later checks too.
Damage that decoders tell apart differently is looked for as well: the checksums of a PNG's chunks.
"""

import io
import struct
import zlib

from PIL import Image, UnidentifiedImageError

# As RGB of 8 bits, a quarter of a GiB; each thread that decodes holds one image.
MAX_PIXELS = (1 << 30) // 12

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class TooManyPixels(ValueError):
    """The header promises more pixels than are decoded."""


class DamagedPng(ValueError):
    """A chunk of a PNG file that is cut short, or has not the content that it was written with."""


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image file.

    Raises:
        UnidentifiedImageError: no image of a known kind.
        TooManyPixels: more than `MAX_PIXELS`.
        Exception: of the kinds that Pillow's plugins raise for damaged headers, see `image_file.PILLOW_ERRORS`.
    """
    image = _first_that_fits(data)
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise TooManyPixels(
            f"its header says {width} x {height}, found {width * height:,} pixels, expected at most {MAX_PIXELS:,}"
        )
    return image


def _first_that_fits(data: bytes) -> Image.Image:
    """As `Image.open`: the plugins in Pillow's order, the common ones first, the others where none of these fits."""
    tried: set[str] = set()
    fault = ""
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for name in [name for name in Image.ID if name not in tried]:
            tried.add(name)
            make, accept = Image.OPEN[name]
            try:
                # A string says why a plugin that would fit cannot be used.
                if accept is None or (accept(data[:16]) and not isinstance(accept(data[:16]), str)):
                    return make(io.BytesIO(data), "")
            except (SyntaxError, IndexError, TypeError, struct.error) as error:
                fault = fault or (f" (as {name}: {error})" if accept is not None else "")
    raise UnidentifiedImageError(f"not an image of a known kind{fault}")


def check_png(data: bytes) -> None:
    """Compare the checksums of a PNG's critical chunks, up to its end chunk; about 4 GB/s. Nothing for other kinds.

    Pillow does not look at those of pixel data, while DALI does.

    Raises:
        DamagedPng: a wrong checksum, or no end chunk.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return
    view, position, kind = memoryview(data), len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        if position + 8 > len(data):
            raise DamagedPng(f"truncated: the file ends after {len(data)} bytes, before the chunk IEND")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise DamagedPng(f"truncated: the file ends after {len(data)} bytes, within the chunk {_name(kind)}")
        is_critical = not kind[0] & 0x20
        if is_critical and zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise DamagedPng(f"the chunk {_name(kind)} at byte {position} has a wrong checksum")
        position = end + 4


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
