"""Kinds of files that are no image, or no longer one, and odd ones that are, with what is to be said of each."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 120, 160


def pixels(seed: int = 4) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or pixels()).save(buffer, kind, **options)
    return buffer.getvalue()


def png(*chunks: tuple[bytes, bytes], signature: bytes = b"\x89PNG\r\n\x1a\n") -> bytes:
    """A PNG of these chunks, with right checksums."""
    return signature + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def with_header(width: int, height: int) -> bytes:
    """A PNG of little content whose header promises that size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))


def with_jpeg_size(width: int, height: int) -> bytes:
    """A JPEG whose header says another size than its data have."""
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


JPEG, PNG = encoded("JPEG"), encoded("PNG")
SCAN = JPEG.index(b"\xff\xda") + 14  # the first byte of the entropy-coded data
ROWS = b"".join(b"\x09" + bytes(3 * WIDTH) for _ in range(HEIGHT))  # no PNG has a filter of number 9

# Where a JPEG is cut -> its name. That it is bad at each place, also without its last byte, is Pillow's verdict.
CUTS = {
    "marker": 2,
    "comment": 12,
    "quantisation tables": JPEG.index(b"\xff\xdb") + 20,
    "size": JPEG.index(b"\xff\xc0") + 6,
    "after the size": JPEG.index(b"\xff\xc0") + 19,
    "Huffman tables": JPEG.index(b"\xff\xc4") + 10,
    "before the scan": SCAN,
    "tenth of the scan": SCAN + (len(JPEG) - SCAN) // 10,
    "half of the scan": SCAN + (len(JPEG) - SCAN) // 2,
    "most of the scan": len(JPEG) - 40,
    "end marker": len(JPEG) - 2,
    "last byte": len(JPEG) - 1,
}
CUT = "truncated|Truncated|not an image of a known kind|cannot load this image"

# Content -> what is said of it. Where two decoders could say something else, all say this.
CONTENTS: dict[str, tuple[bytes, str]] = {
    **{f"cut at {place}.jpg": (JPEG[:at], CUT) for place, at in CUTS.items()},
    "cut in half.png": (PNG[: len(PNG) // 2], "truncated: the file ends after .* within the chunk IDAT"),
    "no end.png": (PNG[:-12], "truncated: the file ends after .* before the chunk IEND"),
    "cut.gif": (encoded("GIF")[:4000], "truncated"),
    "cut.bmp": (encoded("BMP")[:9000], "truncated"),
    "cut.webp": (encoded("WEBP")[:3000], "could not create decoder"),
    "noise.jpg": (np.random.default_rng(6).bytes(3000), "not an image of a known kind"),
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": ("Grüße\n".encode() * 50, "not an image of a known kind"),
    "page.png": (b"<html>not found</html>", "not an image of a known kind"),
    "huge.png": (with_header(60000, 60000), r"60000 x 60000, found 3,600,000,000 pixels, expected at most 89,478,485"),
    "large.png": (with_header(12000, 8000), r"12000 x 8000, found 96,000,000 pixels, expected at most 89,478,485"),
    "huge.jpg": (with_jpeg_size(65000, 65000), "found 4,225,000,000 pixels, expected at most 89,478,485"),
    "flipped bit.png": (flipped(PNG, 5000), "the chunk IDAT at byte [0-9]+ has a wrong checksum"),
    "flipped size.png": (flipped(PNG, 19), r"not an image of a known kind \(as PNG: broken PNG file"),
    "no such filter.png": (
        png((b"IHDR", PNG[16:29]), (b"IDAT", zlib.compress(ROWS)), (b"IEND", b"")),
        "unrecognized data stream",
    ),
    "no size.png": (with_header(0, 0), "not an image of a known kind"),
}
# Made by the file system.
PLACES = {
    "folder.jpg": "Is a directory",
    "missing.jpg": "No such file or directory",
    "dangling.jpg": "No such file or directory",
    "looping.jpg": "Too many levels of symbolic links",
    "forbidden.jpg": "Permission denied",
}

ODD: dict[str, bytes] = {
    "one pixel.jpg": encoded("JPEG", Image.new("RGB", (1, 1), (200, 10, 10))),
    "one pixel.png": encoded("PNG", Image.new("RGB", (1, 1), (200, 10, 10))),
    "animated.gif": encoded("GIF", pixels(1), save_all=True, append_images=[pixels(2)], duration=40),
    "deep.png": encoded("PNG", Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH))),
    "bitmap.bmp": encoded("BMP"),
    "web.webp": encoded("WEBP"),
    "really a png.jpg": PNG,
    "garbage between segments.jpg": JPEG[:20] + b"\x01\x02\x03" + JPEG[20:],
    # Of these no decoder says anything: rows that are lacking are grey, rows too many are not read.
    "taller than it is.jpg": with_jpeg_size(WIDTH, 2 * HEIGHT),
    "smaller than it is.jpg": with_jpeg_size(WIDTH, HEIGHT // 2),
}


def write_bad(path: Path) -> str:
    """Put the bad file of this name in place of what is there; what is said of it. Root is never forbidden: "" then."""
    name = path.name
    path.unlink(missing_ok=True)
    if name in CONTENTS:
        path.write_bytes(CONTENTS[name][0])
        return CONTENTS[name][1]
    if name.startswith("folder"):
        path.mkdir()
    elif name.startswith("dangling"):
        path.symlink_to("nowhere")
    elif name.startswith("looping"):
        path.symlink_to(name)
    elif name.startswith("forbidden"):
        path.write_bytes(JPEG)
        path.chmod(0)
        if os.access(path, os.R_OK):
            return ""
    return PLACES[name]


BAD = (*CONTENTS, *PLACES)
