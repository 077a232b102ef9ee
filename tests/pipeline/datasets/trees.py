"""Miniature trees of the known data sets, as they lie on a disk: right names, right numbers of classes, few images.

Every image is a hard link to one JPEG, made in an order that is not sorted. Beside the images lies what lies there in
real ones: README files, hidden files, folders that are no classes.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

Entry = tuple[str, int, str]


class Tree:
    """Makes files below a folder."""

    def __init__(self, folder: Path, picture: Path) -> None:
        self.folder, self._picture = folder, picture
        self._made: set[Path] = set()

    def image(self, path: str) -> None:
        place = self.folder / path
        self._parent(place)
        os.link(self._picture, place)

    def text(self, path: str, lines: Iterable[str]) -> None:
        place = self.folder / path
        self._parent(place)
        place.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _parent(self, place: Path) -> None:
        if place.parent not in self._made:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(place.parent)

    def split(self, name: str, images: str, entries: dict[str, list[Entry]]) -> None:
        """The images of some lists, last first, and the split file."""
        paths = dict.fromkeys(path for part in entries.values() for path, _, _ in part)
        for path in reversed(paths):
            self.image(f"{images}/{path}")
        self.text(name, [json.dumps(entries)])


def picture(path: Path) -> Path:
    Image.new("RGB", (8, 8), (200, 100, 50)).save(path, "JPEG")
    return path


def entries_of(names: list[str], image: Callable[[int, int], str]) -> dict[str, list[Entry]]:
    """Two training images of each class, one for validation and one for testing; `image(label, n)` is a path."""
    parts = {"train": (1, 2), "val": (3,), "test": (4,)}
    return {
        part: [(image(label, n), label, name) for label, name in enumerate(names) for n in numbers]
        for part, numbers in parts.items()
    }


def named(first: Iterable[str], count: int) -> list[str]:
    """Some class names, filled up to a number."""
    found = list(first)
    return [*found, *(f"thing_{number}" for number in range(len(found), count))]


def caltech101(tree: Tree) -> None:
    names = named(["face", "leopard", "motorbike", "accordion", "airplane"], 100)
    folders = {"face": "Faces", "leopard": "Leopards", "motorbike": "Motorbikes", "airplane": "airplanes"}
    entries = entries_of(names, lambda label, n: f"{folders.get(names[label], names[label])}/image_{n:04d}.jpg")
    tree.split("split_zhou_Caltech101.json", "101_ObjectCategories", entries)
    for no_class in ("BACKGROUND_Google", "Faces_easy"):
        tree.image(f"101_ObjectCategories/{no_class}/image_0001.jpg")


def oxford_pets(tree: Tree) -> None:
    names = named(["abyssinian", "american_bulldog", "wheaten_terrier"], 37)
    entries = entries_of(names, lambda label, n: f"{names[label].capitalize()}_{n}.jpg")
    tree.split("split_zhou_OxfordPets.json", "images", entries)
    tree.text("images/Abyssinian_100.mat", ["no image"])
    tree.text("annotations/list.txt", ["#Image CLASS-ID"])


def stanford_cars(tree: Tree) -> None:
    names = named(["2000 AM General Hummer SUV", "2012 Acura RL Sedan", "2012 smart fortwo Convertible"], 196)
    entries = entries_of(names, lambda label, n: f"cars_{'test' if n == 4 else 'train'}/{10 * label + n:05d}.jpg")
    tree.split("split_zhou_StanfordCars.json", ".", entries)
    tree.text("devkit/README.txt", ["a README"])


def oxford_flowers(tree: Tree) -> None:
    names = named(["pink primrose", "hard-leaved pocket orchid", "bird of paradise"], 102)
    entries = entries_of(names, lambda label, n: f"image_{10 * label + n:05d}.jpg")
    tree.split("split_zhou_OxfordFlowers.json", "jpg", entries)
    tree.text("cat_to_name.json", ["{}"])


def food101(tree: Tree) -> None:
    names = named(["apple_pie", "baby_back_ribs"], 101)
    entries = entries_of(names, lambda label, n: f"{names[label]}/{1000 * label + n}.jpg")
    tree.split("split_zhou_Food101.json", "images", entries)
    tree.text("README.txt", ["a README"])


def fgvc_aircraft(tree: Tree, counts: tuple[int, int, int] = (200, 100, 100)) -> None:
    """The images of each list go through the classes of the new half and of the base half by turns."""
    names = named(["707-320", "727-200", "A340-200", "Boeing 717", "Cessna 172", "DC-9-30", "F/A-18"], 100)
    tree.text("variants.txt", names)
    start = 34_309
    for part, count in zip(("train", "val", "test"), counts, strict=True):
        numbers = range(start, start + count)
        variants = [names[place * 51 % 100] for place in range(1, count + 1)]
        lines = [f"{number:07d} {variant}" for number, variant in zip(numbers, variants, strict=True)]
        tree.text(f"images_variant_{part}.txt", lines)
        for number in reversed(numbers):
            tree.image(f"images/{number:07d}.jpg")
        start += count
    tree.text("images_family_train.txt", ["0034309 Boeing 707"])


def sun397(tree: Tree) -> None:
    names = named(["abbey", "airplane_cabin", "airport_terminal", "alley", "outdoor apartment_building"], 397)
    folders = {"outdoor apartment_building": "a/apartment_building/outdoor"}

    def image(label: int, n: int) -> str:
        name = names[label]
        return f"{folders.get(name, f'{name[0]}/{name}')}/sun_{10 * label + n:04d}.jpg"

    tree.split("split_zhou_SUN397.json", "SUN397", entries_of(names, image))
    tree.text("ClassName.txt", ["/a/abbey"])
    tree.text("SUN397/README.txt", ["a README"])


def dtd(tree: Tree) -> None:
    names = named(["banded", "blotchy", "zigzagged"], 47)
    entries = entries_of(names, lambda label, n: f"{names[label]}/{names[label]}_{n:04d}.jpg")
    tree.split("split_zhou_DescribableTextures.json", "images", entries)
    tree.text("images/banded/.directory", ["hidden"])


EUROSAT = (
    "Annual Crop Land",
    "Forest",
    "Herbaceous Vegetation Land",
    "Highway or Road",
    "Industrial Buildings",
    "Pasture Land",
    "Permanent Crop Land",
    "Residential Buildings",
    "River",
    "Sea or Lake",
)


def eurosat(tree: Tree) -> None:
    folders = (
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
    )
    where = folders.split()
    entries = entries_of(list(EUROSAT), lambda label, n: f"{where[label]}/{where[label]}_{n}.jpg")
    tree.split("split_zhou_EuroSAT.json", "2750", entries)


def ucf101(tree: Tree) -> None:
    names = named(["Apply_Eye_Makeup", "Apply_Lipstick", "Y_M_C_A"], 101)
    entries = entries_of(names, lambda label, n: f"{names[label]}/v_{names[label].replace('_', '')}_g{n:02d}_c01.jpg")
    tree.split("split_zhou_UCF101.json", "UCF-101-midframes", entries)


# Folder n of ImageNet is number 1_440_764 + n; the text file begins with the last but four.
WNIDS = [f"n{1_440_764 + number:08d}" for number in range(1000)]
NAMES = [f"kind {number}" for number in range(1000)]
LINES = [f"{wnid} {name}" for wnid, name in zip(WNIDS, NAMES, strict=True)]
SHUFFLED_LINES = [*LINES[995:], *LINES[:995]]


def imagenet(tree: Tree) -> None:
    tree.text("classnames.txt", [*SHUFFLED_LINES, ""])
    for wnid in reversed(WNIDS):
        for n in (10026, 2):
            tree.image(f"images/train/{wnid}/{wnid}_{n}.JPEG")
        tree.image(f"images/val/{wnid}/ILSVRC2012_val_{wnid}.JPEG")
    tree.image(f"images/train/{WNIDS[0]}/{WNIDS[0]}_1.dots.in it.JPEG")
    tree.text(f"images/train/{WNIDS[0]}/README.txt", ["a README"])
    tree.text(f"images/train/{WNIDS[0]}/.hidden.JPEG", ["hidden"])
    tree.text("images/val/valprep.sh", ["a script beside the folders"])
    tree.image("images/train/.cache/hidden.JPEG")


def imagenetv2(tree: Tree) -> None:
    tree.text("classnames.txt", SHUFFLED_LINES)
    for number in reversed(range(1000)):
        tree.image(f"imagenetv2-matched-frequency-format-val/{number}/0af3f1b55de791c4144e2fb6d7dfe96dfc22d3fc.jpeg")


def imagenet_sketch(tree: Tree) -> None:
    tree.text("classnames.txt", SHUFFLED_LINES)
    for number in reversed(range(1000)):
        tree.image(f"images/{WNIDS[number]}/sketch_{number}.JPEG")


def imagenet_a(tree: Tree, count: int = 200) -> None:
    _every_fifth(tree, "imagenet-a", count)


def imagenet_r(tree: Tree) -> None:
    _every_fifth(tree, "imagenet-r", 200)


def _every_fifth(tree: Tree, images: str, count: int) -> None:
    """200 of the classes, with README.txt between their folders."""
    tree.text("classnames.txt", SHUFFLED_LINES)
    for number in reversed(range(count)):
        tree.image(f"{images}/{WNIDS[number % 200 * 5]}/0.00{number}_tench.jpg")
    tree.text(f"{images}/README.txt", ["a README"])


MAKERS: dict[str, Callable[[Tree], None]] = {
    maker.__name__: maker
    for maker in (
        *(imagenet, caltech101, oxford_pets, stanford_cars, oxford_flowers, food101, fgvc_aircraft, sun397, dtd),
        *(eurosat, ucf101, imagenetv2, imagenet_sketch, imagenet_a, imagenet_r),
    )
}
FOLDERS = {
    "caltech101": "caltech-101",
    "food101": "food-101",
    "imagenet_sketch": "imagenet-sketch",
    "imagenet_a": "imagenet-adversarial",
    "imagenet_r": "imagenet-rendition",
}


def make_all(root: Path) -> None:
    """All of them, each under its own folder's name."""
    one = picture(root / "picture.jpg")
    for name, maker in MAKERS.items():
        maker(Tree(root / FOLDERS.get(name, name), one))
