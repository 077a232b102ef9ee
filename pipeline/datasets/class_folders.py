"""Reads a data set that is nothing but folders of classes, as torchvision's ImageFolder does.

Either `train`, `val` and `test` with a folder for each class in them, or one folder of classes, which is split here: of
each class three tenths of the images (at least one) are for testing, two tenths for validation, the rest for training.
Which ones follows from a digest of each image's path, so it is the same everywhere, depends on no order, and moves few
images when some are added. Labels are the ranks of the folders, whose names are the classes' names.
"""

import hashlib
from pathlib import Path

from fdbpl.pipeline.datasets.data_set import NONE, DataSet, Split
from fdbpl.pipeline.datasets.folders import images_by_class, some, sub_folders

PARTS = ("train", "val", "test")
# What the split is drawn with; another number would be another split of every data set.
_SEED = 1


def read_class_folders(name: str, folder: Path, image_folder: str, _split: str = "") -> DataSet:
    """Read a data set of class folders.

    Args:
        name: what to call it.
        folder: the data set's folder.
        image_folder: the one with the classes, or with `train` and so on, relative to `folder`.

    Raises:
        ValueError: no such folder, no classes, class folders without an image or with folders in them, classes that
            have no training image, or too few to be split.
    """
    root = folder / image_folder
    found = sub_folders(root, name)
    if not found:
        raise ValueError(
            f"data set {name}: found no folder in {root}, expected one for each class, or train, val, test"
        )
    # A class may be called train.
    if set(found) <= set(PARTS) or ("train" in found and {"val", "test"} & set(found)):
        return _in_parts(name, root, found)
    return _split_here(name, root, found)


def _in_parts(name: str, root: Path, found: list[str]) -> DataSet:
    """Without `test` the validation images are the test split, as ImageNet's are. `test` alone is a test set."""
    stray = sorted(set(found) - set(PARTS))
    if stray or found == ["train"] or ("val" in found and not {"train", "test"} & set(found)):
        more = f" and {some(stray)}" if stray else ""
        parts = ", ".join(part for part in PARTS if part in found)
        raise ValueError(
            f"data set {name}: found {parts}{more} in {root}, expected train with val or test or both, or test alone, "
            "and nothing beside them; or one folder for each class"
        )
    class_names = sub_folders(root / ("train" if "train" in found else "test"), name)
    if not class_names:
        raise ValueError(f"data set {name}: found no class folder in {root / found[-1]}, expected some")
    splits = {part: _part(name, root, part, class_names) for part in PARTS if part in found}
    splits.setdefault("test", splits.get("val", NONE))
    return DataSet(
        name=name,
        root=root,
        class_names=tuple(class_names),
        train=splits.get("train", NONE),
        val=splits.get("val", NONE),
        test=splits["test"],
    )


def _part(name: str, root: Path, part: str, class_names: list[str]) -> Split:
    labels = {class_name: label for label, class_name in enumerate(class_names)}
    own = sub_folders(root / part, name)
    unknown = [class_folder for class_folder in own if class_folder not in labels]
    if unknown:
        raise ValueError(
            f"data set {name}: found the classes {some(unknown)} in {root / part} that train does not have: remove them"
        )
    images = images_by_class(root / part, own, name)
    return _as_split(
        [(f"{part}/{folder}/{one}", labels[folder]) for folder, ones in zip(own, images, strict=True) for one in ones]
    )


def _split_here(name: str, root: Path, class_names: list[str]) -> DataSet:
    images = images_by_class(root, class_names, name)
    few = [folder for folder, ones in zip(class_names, images, strict=True) if len(ones) < 2]
    if few:
        raise ValueError(
            f"data set {name}: found a single image of {some(few)} in {root}, expected at least 2 of each class, one "
            "of them for testing"
        )
    drawn: dict[str, list[tuple[str, int]]] = {part: [] for part in PARTS}
    for label, (folder, ones) in enumerate(zip(class_names, images, strict=True)):
        for part, paths in split_class([f"{folder}/{one}" for one in ones]).items():
            drawn[part] += [(path, label) for path in paths]
    return DataSet(
        name=name,
        root=root,
        class_names=tuple(class_names),
        train=_as_split(drawn["train"]),
        val=_as_split(drawn["val"]),
        test=_as_split(drawn["test"]),
    )


def split_class(paths: list[str]) -> dict[str, list[str]]:
    """The images of one class as train, val and test, each sorted."""
    ranked = sorted(paths, key=lambda path: hashlib.sha256(f"{_SEED}/{path}".encode()).digest())
    num_test = max(1, len(paths) * 3 // 10)
    num_val = len(paths) * 2 // 10
    first = len(paths) - num_test - num_val
    parts = (ranked[:first], ranked[first : first + num_val], ranked[first + num_val :])
    return {part: sorted(chosen) for part, chosen in zip(PARTS, parts, strict=True)}


def _as_split(entries: list[tuple[str, int]]) -> Split:
    return Split(paths=tuple(path for path, _ in entries), labels=tuple(label for _, label in entries))
