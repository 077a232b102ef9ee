"""Lists tar shards in WebDataset's layout as a split file in CoOp's: labels are read once, no image is.

A sample is what shares a name up to its last dot within a shard: an image, `cats/1.jpg`, and its label, as the text of
`cats/1.cls` or as `label` or `cls` of `cats/1.json`. Images are listed shard by shard, each in the shard's order, as
`train-000000.tar/cats/1.jpg`. Everything is checked before anything is written, and faults are told together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from fdbpl.pipeline.shards.index import load_members
from fdbpl.pipeline.shards.members import Members, ShardError
from fdbpl.pipeline.shards.names import find_shards
from fdbpl.pipeline.shards.sample_label import sample_label

IMAGES = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "ppm", "pgm", "pbm", "pnm", "bmp", "gif", "tif", "tiff"}
LABELS = {"cls", "json"}
_NUM_SHOWN = 20
_BUFFER = 1 << 16
Entry = tuple[str, int, str]


@dataclass
class _Faults:
    """What is wrong, gathered so that it can be mended at once."""

    lines: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: str) -> None:
        self.count += 1
        if len(self.lines) < _NUM_SHOWN:
            self.lines.append(line)


@dataclass
class _Sample:
    images: list[int] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def list_shards(
    folder: Path, patterns: Mapping[str, str], class_names: Sequence[str] | None = None
) -> dict[str, list[Entry]]:
    """The lists of a split file: [path, label, class name] of each image, by split.

    Args:
        folder: the data set's folder; paths are relative to it.
        patterns: the shards of each split, relative to the folder; "" for a split that has none.
        class_names: in the order of the labels; None: `class_name` of each sample's `.json`.

    Raises:
        ValueError: shards that are not there, damaged, or of two splits; images without a label or with another
            that is none, several images of one sample, classes without a name or an image.
    """
    faults = _Faults()
    names: dict[int, str] = dict(enumerate(class_names or ()))
    lists: dict[str, list[Entry]] = {}
    split_of: dict[Path, str] = {}
    for split, pattern in patterns.items():
        lists[split] = []
        for shard in _shards(folder, pattern):
            if split_of.setdefault(shard, split) != split:
                raise ValueError(f"found {shard} as a shard of {split_of[shard]} and of {split}, expected one of them")
            prefix = shard.relative_to(folder).as_posix()
            for name, label, class_name in _samples(shard, faults, needs_names=class_names is None):
                if class_names is None:
                    known = names.setdefault(label, class_name)
                    if known != class_name:
                        faults.add(f"{shard}: {name}: label {label} is {known!r} elsewhere, found {class_name!r}")
                elif label >= len(class_names):
                    faults.add(f"{shard}: {name}: found label {label}, expected one of {len(class_names)} classes")
                    continue
                lists[split].append((f"{prefix}/{name}", label, names[label]))
    if faults.count:
        more = [f"... and {faults.count - len(faults.lines)} more"] if faults.count > len(faults.lines) else []
        raise ValueError("\n  ".join([f"found {faults.count} faults in the shards of {folder}:", *faults.lines, *more]))
    _check_classes(folder, names, lists)
    return lists


def _shards(folder: Path, pattern: str) -> list[Path]:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"found the shards {pattern}, expected a pattern that is relative to {folder}")
    try:
        return find_shards(folder / pattern) if pattern else []
    except ShardError as error:
        raise ValueError(str(error)) from error


def _samples(shard: Path, faults: _Faults, *, needs_names: bool) -> Iterator[Entry]:
    """Member, label and class name ("" where it is not asked for) of each image of a shard."""
    try:
        members, _ = load_members(shard)
        if members.damage:
            raise ValueError(f"{shard}: {members.damage}")
        with shard.open("rb", buffering=_BUFFER) as file:
            for key, sample in _grouped(shard, members, faults).items():
                if not sample.images:
                    continue
                names = [members.names[row] for row in sample.images]
                if ".." in names[0].split("/"):
                    faults.add(f"{shard}: found the member {names[0]!r}, expected a path without '..'")
                    continue
                if len(names) > 1:
                    faults.add(f"{shard}: found several images of the sample {key!r}, expected one: {', '.join(names)}")
                    continue
                try:
                    contents = {kind: _content(file, members, row) for kind, row in sample.labels.items()}
                    label, class_name = sample_label(key, contents, needs_name=needs_names)
                except ValueError as error:
                    faults.add(f"{shard}: {error}")
                    continue
                yield names[0], label, class_name
    except OSError as error:
        raise ValueError(f"the shard {shard} cannot be read: {error.strerror}") from error


def _content(file: BinaryIO, members: Members, row: int) -> bytes:
    file.seek(members.offsets[row])
    return file.read(members.sizes[row])


def _grouped(shard: Path, members: Members, faults: _Faults) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for row, name in enumerate(members.names):
        key, extension = _parted(name)
        if extension in IMAGES:
            samples.setdefault(key, _Sample()).images.append(row)
        elif extension in LABELS:
            samples.setdefault(key, _Sample()).labels[extension] = row
    for name, reason in members.refused.items():
        if _parted(name)[1] in IMAGES | LABELS:
            faults.add(f"{shard}: {name}: {reason}")
    return samples


def _parted(name: str) -> tuple[str, str]:
    """The part that a sample shares, and what follows the last dot of the file's name, in small letters."""
    stem, dot, extension = name.rpartition(".")
    return (stem, extension.lower()) if dot and "/" not in extension else (name, "")


def _check_classes(folder: Path, names: Mapping[int, str], lists: Mapping[str, Sequence[Entry]]) -> None:
    """A split file names classes by their images, so each class needs one."""
    used = {label for entries in lists.values() for _, label, _ in entries}
    num_labels = max([*names, *used], default=0) + 1
    if num_labels > len(used):
        first = list(islice((label for label in range(num_labels) if label not in used), _NUM_SHOWN))
        shown = ", ".join(f"{label} ({names.get(label, 'no name')})" for label in first)
        raise ValueError(
            f"found no image of {num_labels - len(used)} classes in the shards of {folder}: {shown}; expected labels "
            "from 0 on with none left out: name all shards, and no class beyond them"
        )
    twice = [repr(name) for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f"found {', '.join(twice)} as the class name of two labels, expected a name for each alone")
