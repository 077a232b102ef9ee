"""What a data set is: class names, and three splits of labelled image files.

Paths are relative to the data set's root, with forward slashes, so that what is written about an image
stays true when the folder moves. Label c means `class_names[c]`; names are as the data set spells them
(underscores included).
"""

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fdbpl.cache_layout.manifest import canonical_json, digest_of


@dataclass(frozen=True, kw_only=True)
class Split:
    """Image i is the file `paths[i]`, of class `labels[i]`."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise ValueError(
                f"a split has a label for each path; found {len(self.paths)} paths, {len(self.labels)} labels"
            )
        for index, path in enumerate(self.paths):
            if not path or path[0] == "/" or (".." in path and ".." in path.split("/")):
                raise ValueError(f"image {index}: found the path {path!r}, expected one relative to the image folder")

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Path -> where it is first in the list. Computed once."""
        return {path: position for position, path in reversed(list(enumerate(self.paths)))}

    @cached_property
    def digest(self) -> str:
        """Digest of paths and labels in order: which images these are, without reading one. Computed once."""
        return digest_of(canonical_json([list(self.paths), list(self.labels)]).encode())


NONE = Split(paths=(), labels=())


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A named data set whose image files lie under `root`: a folder, or a pattern of tar shards (`shards.files`).

    A test set has nothing in `train` and `val`. `excluded` are images that were taken out of `train`, because they
    cannot be read. `subsets` is the pattern of files with few-shot subsets that are to be used (`subset_file`); ""
    where they are drawn.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    excluded: Split = NONE
    subsets: str = ""

    def __post_init__(self) -> None:
        first_label: dict[str, int] = {}
        for label, class_name in enumerate(self.class_names):
            if class_name in first_label:
                raise ValueError(
                    f"{self.name}: the class name {class_name!r} is there twice, as labels "
                    f"{first_label[class_name]} and {label}; a prompt could not tell them apart"
                )
            first_label[class_name] = label
        for split_name in ("train", "val", "test"):
            self._check_labels(split_name, getattr(self, split_name))

    def without(self, paths: Collection[str]) -> "DataSet":
        """The same without those training images; itself where it has none of them."""
        is_out = [path in paths for path in self.train.paths]
        if not any(is_out):
            return self
        kept, out = (
            Split(
                paths=tuple(itertools.compress(self.train.paths, chosen)),
                labels=tuple(itertools.compress(self.train.labels, chosen)),
            )
            for chosen in ([not each for each in is_out], is_out)
        )
        return replace(self, train=kept, excluded=out)

    def _check_labels(self, split_name: str, split: Split) -> None:
        num_classes = len(self.class_names)
        for path, label in zip(split.paths, split.labels, strict=True):
            if not 0 <= label < num_classes:
                raise ValueError(
                    f"{self.name}: label {label} of {path} ({split_name}) is not one of {num_classes} classes"
                )
