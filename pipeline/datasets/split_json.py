"""Reads the layout that CoOp's data sets come in: a folder of images, and one JSON file of splits.

The file holds {"train": [[path, label, class name], ...], "val": [...], "test": [...]}, with paths
relative to the image folder. Every entry is checked, so that a data set that is read is sound; whether
the image files are there is the scan's question. Costs two seconds for a million images.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.shards.files import lacking

SPLITS = ("train", "val", "test")


def read_split_json(name: str, folder: Path, image_folder: str, split_file: str) -> DataSet:
    """Read a data set from its folder.

    Args:
        name: What to call it.
        folder: The data set's folder.
        image_folder: Where its paths start, relative to `folder`; "" or "." is the folder itself. Tar shards
            stand for a folder (`shards/*.tar`).
        split_file: The JSON file, relative to `folder`.

    Raises:
        ValueError: A missing folder or file, JSON of another form, a label with two class names, a class name
            with two labels, or labels that leave numbers out.
    """
    folder = Path(folder)
    root = folder / image_folder
    for place in (folder, root):
        if reason := lacking(place):
            raise ValueError(f"data set {name}: {reason}; give the folder that holds {split_file}, and its images")
    path = folder / split_file
    entries = {split: _entries(path, split, found) for split, found in _read_splits(path).items()}
    train, val, test = (
        Split(paths=tuple(entry[0] for entry in entries[split]), labels=tuple(entry[1] for entry in entries[split]))
        for split in SPLITS
    )
    return DataSet(name=name, root=root, class_names=_class_names(path, entries), train=train, val=val, test=test)


Entry = tuple[str, int, str]


def split_content(data: DataSet) -> dict[str, list[Entry]]:
    """The lists that a split file of that data set holds."""
    return {
        name: [(path, label, data.class_names[label]) for path, label in zip(split.paths, split.labels, strict=True)]
        for name, split in (("train", data.train), ("val", data.val), ("test", data.test))
    }


def _read_splits(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read the split file {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"the split file {path} is not JSON: {error}") from error
    found = sorted(content) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not all(isinstance(content.get(split), list) for split in SPLITS):
        raise ValueError(f"the split file {path} must hold the lists {', '.join(SPLITS)}; found {found}")
    return {split: content[split] for split in SPLITS}


def _entries(path: Path, split: str, entries: list[Any]) -> list[Entry]:
    for index, entry in enumerate(entries):
        # A bool is an int to isinstance; JSON's true is no label.
        if not (isinstance(entry, list) and [type(field) for field in entry] == [str, int, str]):
            raise ValueError(f"{path}: {split}[{index}] is {entry!r}; expected [path, label, class name]")
    return [(entry[0], entry[1], entry[2]) for entry in entries]


def _class_names(path: Path, splits: dict[str, list[Entry]]) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for split, image_path, label, class_name in _all_entries(splits):
        if names.setdefault(label, class_name) != class_name:
            raise ValueError(
                f"{path}: label {label} is {names[label]!r} in one place and {class_name!r} in another "
                f"({split}, {image_path})"
            )
    missing = sorted(set(range(len(names))) - set(names))
    if missing or not names:
        raise ValueError(
            f"{path}: labels must be the numbers from 0 on with none left out; found {len(names)} labels, "
            f"up to {max(names, default=None)}, without {missing[:10]}"
        )
    return tuple(names[label] for label in range(len(names)))


def _all_entries(splits: dict[str, list[Entry]]) -> Iterator[tuple[str, str, int, str]]:
    for split, entries in splits.items():
        for image_path, label, class_name in entries:
            yield split, image_path, label, class_name
