"""Each known data set is read from a tree as it lies on a disk, by a config that has a name and a folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trees import EUROSAT, FOLDERS, MAKERS

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.catalog import KNOWN
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.labels.teach import image_root

ReadSection = Callable[..., RunConfig]
# Name -> numbers of classes, train, val and test images; names of classes by label; (path, label) of images by place.
EXPECTED: dict[str, tuple[tuple[int, ...], dict[int, str], dict[tuple[str, int], tuple[str, int]]]] = {
    "imagenet": (
        (1000, 2001, 1000, 1000),
        {0: "kind 0", 1: "kind 1", 999: "kind 999"},
        {
            ("train", 0): ("train/n01440764/n01440764_1.dots.in it.JPEG", 0),
            ("train", 1): ("train/n01440764/n01440764_10026.JPEG", 0),
            ("train", 2): ("train/n01440764/n01440764_2.JPEG", 0),
            ("train", 3): ("train/n01440765/n01440765_10026.JPEG", 1),
            ("test", 999): ("val/n01441763/ILSVRC2012_val_n01441763.JPEG", 999),
        },
    ),
    "caltech101": (
        (100, 200, 100, 100),
        {0: "face", 1: "leopard", 2: "motorbike", 3: "accordion", 4: "airplane"},
        {("train", 0): ("Faces/image_0001.jpg", 0), ("test", 4): ("airplanes/image_0004.jpg", 4)},
    ),
    "oxford_pets": (
        (37, 74, 37, 37),
        {1: "american_bulldog"},
        {("val", 1): ("American_bulldog_3.jpg", 1)},
    ),
    "stanford_cars": (
        (196, 392, 196, 196),
        {0: "2000 AM General Hummer SUV"},
        {("train", 0): ("cars_train/00001.jpg", 0), ("test", 0): ("cars_test/00004.jpg", 0)},
    ),
    "oxford_flowers": (
        (102, 204, 102, 102),
        {1: "hard-leaved pocket orchid"},
        {("train", 2): ("image_00011.jpg", 1)},
    ),
    "food101": (
        (101, 202, 101, 101),
        {0: "apple_pie"},
        {("test", 1): ("baby_back_ribs/1004.jpg", 1)},
    ),
    "fgvc_aircraft": (
        (100, 200, 100, 100),
        {0: "707-320", 3: "Boeing 717", 6: "F/A-18", 99: "thing_99"},
        {("train", 0): ("0034309.jpg", 51), ("train", 5): ("0034314.jpg", 6), ("test", 1): ("0034610.jpg", 2)},
    ),
    "sun397": (
        (397, 794, 397, 397),
        {4: "outdoor apartment_building"},
        {("train", 0): ("a/abbey/sun_0001.jpg", 0), ("test", 4): ("a/apartment_building/outdoor/sun_0044.jpg", 4)},
    ),
    "dtd": ((47, 94, 47, 47), {0: "banded"}, {("train", 1): ("banded/banded_0002.jpg", 0)}),
    "eurosat": (
        (10, 20, 10, 10),
        dict(enumerate(EUROSAT)),
        {("test", 9): ("SeaLake/SeaLake_4.jpg", 9), ("train", 0): ("AnnualCrop/AnnualCrop_1.jpg", 0)},
    ),
    "ucf101": (
        (101, 202, 101, 101),
        {0: "Apply_Eye_Makeup"},
        {("val", 0): ("Apply_Eye_Makeup/v_ApplyEyeMakeup_g03_c01.jpg", 0)},
    ),
    "imagenetv2": (
        (1000, 0, 0, 1000),
        {0: "kind 995", 4: "kind 999", 5: "kind 0", 10: "kind 5", 999: "kind 994"},
        {
            ("test", 2): ("2/0af3f1b55de791c4144e2fb6d7dfe96dfc22d3fc.jpeg", 2),
            ("test", 10): ("10/0af3f1b55de791c4144e2fb6d7dfe96dfc22d3fc.jpeg", 10),
        },
    ),
    "imagenet_sketch": (
        (1000, 0, 0, 1000),
        {0: "kind 0", 999: "kind 999"},
        {("test", 7): ("n01440771/sketch_7.JPEG", 7)},
    ),
    "imagenet_a": (
        (200, 0, 0, 200),
        {0: "kind 0", 1: "kind 5", 199: "kind 995"},
        {("test", 0): ("n01440764/0.000_tench.jpg", 0), ("test", 199): ("n01441759/0.00199_tench.jpg", 199)},
    ),
    "imagenet_r": (
        (200, 0, 0, 200),
        {2: "kind 10"},
        {("test", 2): ("n01440774/0.002_tench.jpg", 2)},
    ),
}


def test_all_fifteen_are_tried() -> None:
    assert list(MAKERS) == list(KNOWN) == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_name_and_a_folder_are_enough(name: str, trees: Path, read_section: ReadSection) -> None:
    folder = trees / FOLDERS.get(name, name)
    config = read_section(f'name = "{name}"', f'folder = "{folder}"')
    data = load_data(config.data)
    counts, names, images = EXPECTED[name]
    assert (len(data.class_names), len(data.train), len(data.val), len(data.test)) == counts
    assert {label: data.class_names[label] for label in names} == names
    assert {place: image_at(data, *place) for place in images} == images
    assert data.name == name
    assert data.root == image_root(config)
    for split in (data.train, data.val, data.test):
        assert all((data.root / path).is_file() for path in split.paths)
        assert not [path for path in split.paths if "README" in path or "hidden" in path or "Faces_easy" in path]


def image_at(data: DataSet, split: str, place: int) -> tuple[str, int]:
    found = getattr(data, split)
    return found.paths[place], found.labels[place]


@pytest.mark.parametrize("name", ["imagenet", "imagenetv2", "imagenet_sketch", "imagenet_a"])
def test_the_order_of_a_directory_does_not_matter(
    name: str, trees: Path, read_section: ReadSection, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_section(f'name = "{name}"', f'folder = "{trees / FOLDERS.get(name, name)}"')
    before = load_data(config.data)
    scandir = os.scandir

    class Backwards:
        def __init__(self, place: Any) -> None:
            with scandir(place) as found:
                self._entries = sorted(found, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> Iterator[Any]:
            return iter(self._entries)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert load_data(config.data) == before
