"""Looks at every image file once, before anything is computed: its size, the digest of its bytes, and that it
can be decoded.

One read a file serves both. The size is that of the stored pixels (EXIF rotation not applied), which
windows are drawn for. All bad files are found before any is reported, so that they can be mended at once.
All data of a file is decoded once, at a small scale, so that one cut short is found before hours of work. Costs
the reading and half a decode of all files, by threads, and memory for the result alone.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fdbpl.cache_layout.images import ImageIndex
from fdbpl.pipeline.loading.decoder import UnreadableImage
from fdbpl.pipeline.loading.image_file import check_pixels, read_image_file
from fdbpl.pipeline.shards.files import lacking

# Files in flight: enough to keep the threads busy, few enough for lists of millions.
_CHUNK = 1024
_NUM_SHOWN = 20


class UnreadableImages(ValueError):
    """Every file of a scan that cannot be read, in the list's order, each with index, path and reason."""

    def __init__(self, images: Sequence[UnreadableImage], num_scanned: int) -> None:
        super().__init__(images, num_scanned)
        self.images = tuple(images)
        self.num_scanned = num_scanned

    def __str__(self) -> str:
        lines = [str(image) for image in self.images[:_NUM_SHOWN]]
        if len(self.images) > _NUM_SHOWN:
            lines.append(f"... and {len(self.images) - _NUM_SHOWN} more")
        heading = f"{len(self.images)} of {self.num_scanned} images cannot be read; mend or remove them:"
        return "\n  ".join([heading, *lines])


def scan_images(
    root: Path,
    paths: Sequence[str],
    labels: Sequence[int],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    num_threads: int = 8,
    digests: bool = True,
) -> ImageIndex:
    """Read the header and the digest of each file, and decode its data.

    Args:
        root: The folder that the paths are relative to, or its tar shards.
        paths: The images, in the order of the index.
        labels: The class of each.
        on_progress: Called with (done, total) after each thousand files, and at the end.
        num_threads: How many files are read at once.
        digests: Whether the digests are computed; zeros stand for those that are not.

    Returns:
        The index: sizes_N2 int32 (height, width), digests_N32 uint8 (sha256 of the bytes), labels_N int32.

    Raises:
        UnreadableImages: Some files cannot be read; all are listed.
        ValueError: `paths` and `labels` are of different lengths, or no `root`.
    """
    if len(paths) != len(labels):
        raise ValueError(f"a scan needs a label for each path; found {len(paths)} paths and {len(labels)} labels")
    root = Path(root)
    if reason := lacking(root):
        raise ValueError(f"{reason}; images were to be scanned there")
    sizes_N2 = np.zeros((len(paths), 2), dtype=np.int32)
    digests_N32 = np.zeros((len(paths), 32), dtype=np.uint8)
    bad: list[UnreadableImage] = []

    def look_at(index: int) -> UnreadableImage | None:
        try:
            file = read_image_file(root / paths[index], index)
            check_pixels(file)
        except UnreadableImage as error:
            return error
        sizes_N2[index] = file.height, file.width
        if digests:
            digests_N32[index] = np.frombuffer(hashlib.sha256(file.data).digest(), dtype=np.uint8)
        return None

    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(paths), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(paths)))
            bad.extend(error for error in pool.map(look_at, chunk) if error is not None)
            if on_progress is not None:
                on_progress(chunk.stop, len(paths))
    if bad:
        raise UnreadableImages(bad, len(paths))
    return ImageIndex(
        paths=tuple(paths),
        sizes_N2=sizes_N2,
        digests_N32=digests_N32,
        labels_N=np.asarray(labels, dtype=np.int32),
    )
