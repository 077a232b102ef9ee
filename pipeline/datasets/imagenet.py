"""Reads ImageNet: `train` and `val` with a folder for each class, and the classes' names in classnames.txt.

A class's label is the rank of its folder, images are sorted by name, and the validation images are the test split, as
in the field. Any subset of the classes (ImageNet-100) is read in the same way.
"""

from pathlib import Path

from fdbpl.pipeline.datasets.class_names import read_class_names
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.datasets.folders import images_by_class, some, sub_folders


def read_imagenet(name: str, folder: Path, image_folder: str, class_names: str) -> DataSet:
    """Read ImageNet from its folder.

    Args:
        name: what to call it.
        folder: the data set's folder.
        image_folder: the one with `train` and `val`, relative to `folder`.
        class_names: the text file, relative to `folder`.

    Raises:
        ValueError: a missing folder or file, folders that only one of `train` and `val` has, or without a name or an
            image.
    """
    names = read_class_names(folder / class_names)
    root = folder / image_folder
    train, val = (sub_folders(root / part, name) for part in ("train", "val"))
    for part, own, other in (("train", train, val), ("val", val, train)):
        missing = sorted(set(other) - set(own))
        if missing:
            raise ValueError(
                f"data set {name}: found no class folder {some(missing)} in {root / part}, expected the same in train "
                "and val: labels are the ranks of the folders"
            )
    splits = {part: folders_split(root, train, name, names, below=part) for part in ("train", "val")}
    return DataSet(
        name=name,
        root=root,
        class_names=tuple(names[class_folder] for class_folder in train),
        train=splits["train"],
        val=splits["val"],
        test=splits["val"],
    )


def folders_split(root: Path, folders: list[str], name: str, names: dict[str, str], below: str = "") -> Split:
    """The images of class folders, labelled by the folders' ranks, with paths relative to `root`.

    Args:
        root, below: the folders are in `root / below`.
        names: folder -> class name; each folder must have one.

    Raises:
        ValueError: no folder, or folders without a name or an image.
    """
    place = root / below
    if not folders:
        raise ValueError(f"data set {name}: found no class folder in {place}, expected some such as n01440764")
    unknown = [folder for folder in folders if folder not in names]
    if unknown:
        raise ValueError(
            f"data set {name}: found the class folders {some(unknown)} in {place}, which the class names do not have: "
            "remove them, or add their lines"
        )
    prefix = f"{below}/" if below else ""
    images = images_by_class(place, folders, name)
    return Split(
        paths=tuple(f"{prefix}{folder}/{image}" for folder, own in zip(folders, images, strict=True) for image in own),
        labels=tuple(label for label, own in enumerate(images) for _ in own),
    )
