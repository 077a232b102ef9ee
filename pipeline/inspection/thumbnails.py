"""Pictures of stored crops: the pixels that the teacher saw, and whole images to show where they lie.

A crop is cut by the store's own window at the teacher's own size. Small ones are kept to the bit, as PNG; of larger
ones a JPEG shows as much and takes a tenth. Letters: B crops, H W pixels.
"""

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from fdbpl.pipeline.inspection.crops import Crop
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.labels.replay import replay_decoder
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.loading.image_file import decode_with_pillow, read_image_file
from fdbpl.pipeline.loading.windows import Pixels, StoredWindows

# Side of the largest crop that is kept as PNG, in pixels.
LARGEST_PNG = 96
_QUALITY = 92
_BATCH = 64


@lru_cache(maxsize=2)
def store_pixels(opened: Opened, device: str = "cpu") -> Pixels:
    """Cuts a store's views again, from the images of its run; made once, for it may have to say by what decoder."""
    reader = opened.reader
    decoder = replay_decoder(opened.config, reader.manifest.fields["decoder"], device)
    return Pixels(decoder, image_root(opened.config), reader.images, StoredWindows(reader))


def thumbnails(opened: Opened, crops: Sequence[Crop]) -> list[bytes]:
    """Each crop as the teacher saw it: a PNG or JPEG file.

    Raises:
        UnreadableImages: images that are gone, or not what they were when the store was made; all are named.
    """
    cut, size = store_pixels(opened), int(opened.reader.manifest.fields["crops"]["size"])
    found: list[bytes] = []
    for start in range(0, len(crops), _BATCH):
        part = crops[start : start + _BATCH]
        images_B, seeds_B = np.array([one.image for one in part]), np.array([one.seed for one in part])
        pixels_BHW3 = cut(images_B, seeds_B, size).cpu().permute(0, 2, 3, 1).numpy()
        found += [_file(Image.fromarray(pixels_HW3), exact=size <= LARGEST_PNG) for pixels_HW3 in pixels_BHW3]
    return found


def whole_images(opened: Opened, images: Sequence[int], longest: int) -> dict[int, bytes]:
    """Images by their numbers, as stored, made smaller where a side is longer than `longest` pixels: JPEG files.

    Raises:
        UnreadableImage: an image that cannot be read.
    """
    root, paths = image_root(opened.config), opened.reader.images.paths
    found: dict[int, bytes] = {}
    for image in dict.fromkeys(images):
        picture = decode_with_pillow(read_image_file(root / paths[image], image))
        picture.thumbnail((longest, longest))
        found[image] = _file(picture, exact=False)
    return found


def _file(picture: Image.Image, *, exact: bool) -> bytes:
    content = io.BytesIO()
    if exact:
        picture.save(content, format="PNG")
    else:
        picture.save(content, format="JPEG", quality=_QUALITY)
    return content.getvalue()
