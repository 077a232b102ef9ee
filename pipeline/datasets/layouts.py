"""The ways in which a data set can lie on a disk: what reads each, and which parts it needs.

A reader takes (name, folder, images, split), the last two relative to the folder, as a config has them. A layout is a
reader's own name, for data sets that only their owner knows, or that of a known data set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fdbpl.pipeline.datasets.catalog import KNOWN
from fdbpl.pipeline.datasets.class_folders import read_class_folders
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.fgvc import LIST, read_fgvc
from fdbpl.pipeline.datasets.imagenet import read_imagenet
from fdbpl.pipeline.datasets.imagenet_variants import read_numbered_folders, read_wnid_folders
from fdbpl.pipeline.datasets.split_json import read_split_json

IMAGE_FOLDER = "image folder"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What reads a layout.

    Attributes:
        read: (name, folder, images, split) -> the data set; ValueError where something is not as it must be.
        folders, files: the parts that must be there beside the image folder, by what they are called in messages, with
            `{images}` and `{split}` in their places.
        lists_folders: whether it learns of the images by listing folders, which costs with many of them.
    """

    read: Callable[[str, Path, str, str], DataSet]
    folders: dict[str, str]
    files: dict[str, str]
    lists_folders: bool = False


_CLASS_NAMES = {"class names": "{split}"}
READERS = {
    "split_json": Reader(read=read_split_json, folders={}, files={"split file": "{split}"}),
    "class_folders": Reader(read=read_class_folders, folders={}, files={}, lists_folders=True),
    "imagenet": Reader(
        read=read_imagenet,
        folders={"training images": "{images}/train", "validation images": "{images}/val"},
        files=_CLASS_NAMES,
        lists_folders=True,
    ),
    "numbered_folders": Reader(read=read_numbered_folders, folders={}, files=_CLASS_NAMES, lists_folders=True),
    "wnid_folders": Reader(read=read_wnid_folders, folders={}, files=_CLASS_NAMES, lists_folders=True),
    "fgvc": Reader(
        read=read_fgvc,
        folders={},
        files={**_CLASS_NAMES, **{f"{part} list": LIST.format(part) for part in ("train", "val", "test")}},
    ),
}


def reader_of(layout: str) -> Reader:
    """What reads a layout, one of `catalog.LAYOUTS`."""
    return READERS[KNOWN[layout].reader if layout in KNOWN else layout]
