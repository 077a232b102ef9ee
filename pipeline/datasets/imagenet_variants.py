"""Reads the test sets that share ImageNet's classes: V2, Sketch, A and R. They have no training and no val images.

V2 numbers its folders by the lines of classnames.txt, from 0. The others have WordNet's folders: all of them (Sketch),
or 200 (A and R), whose labels are their own ranks, 0 to 199; README.txt between the folders counts for nothing.
"""

from pathlib import Path

from fdbpl.pipeline.datasets.class_names import read_class_names
from fdbpl.pipeline.datasets.data_set import NONE, DataSet, Split
from fdbpl.pipeline.datasets.folders import some, sub_folders
from fdbpl.pipeline.datasets.imagenet import folders_split


def read_numbered_folders(name: str, folder: Path, image_folder: str, class_names: str) -> DataSet:
    """Read ImageNetV2. Arguments as of `read_imagenet`.

    Raises:
        ValueError: a missing folder or file, lines without their folder, folders without a line or an image.
    """
    names = list(read_class_names(folder / class_names).values())
    root = folder / image_folder
    numbers = [str(number) for number in range(len(names))]
    found = set(sub_folders(root, name))
    missing = [f"{number} ({names[int(number)]})" for number in numbers if number not in found]
    if missing:
        raise ValueError(
            f"data set {name}: found no class folder {some(missing)} in {root}, expected one for each of the "
            f"{len(names)} lines of {class_names}, called 0, 1 and so on"
        )
    stray = sorted(found - set(numbers))
    if stray:
        raise ValueError(
            f"data set {name}: found the folders {some(stray)} in {root}, expected 0 to {len(names) - 1} only, the "
            f"lines of {class_names}"
        )
    return _test_set(
        name, root, tuple(names), folders_split(root, numbers, name, dict(zip(numbers, names, strict=True)))
    )


def read_wnid_folders(name: str, folder: Path, image_folder: str, class_names: str) -> DataSet:
    """Read ImageNet-Sketch, -A or -R. Arguments as of `read_imagenet`.

    Raises:
        ValueError: a missing folder or file, folders without a name or an image.
    """
    names = read_class_names(folder / class_names)
    root = folder / image_folder
    folders = sub_folders(root, name)
    split = folders_split(root, folders, name, names)
    return _test_set(name, root, tuple(names[class_folder] for class_folder in folders), split)


def _test_set(name: str, root: Path, class_names: tuple[str, ...], test: Split) -> DataSet:
    return DataSet(name=name, root=root, class_names=class_names, train=NONE, val=NONE, test=test)
