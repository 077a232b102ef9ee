"""Few-shot subsets as files: those that a run is given, CoOp's pickles or JSON, and those that a run keeps of its own.

The JSON form is {"train": [[path, label, class name], ...]}, with paths relative to the image folder; other keys are
left alone. Given subsets may hold absolute paths of another machine: what counts of a path is its longest end that is
an image of the data set. Order, and an image that is there twice, are kept as given.
"""

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fdbpl.pipeline.datasets.coop_pickle import read_coop_pickle
from fdbpl.pipeline.datasets.data_set import DataSet

_NUM_SHOWN = 3


def check_pattern(pattern: str) -> None:
    """Refuse a pattern of subset files that none could follow. Raises ValueError."""
    if not pattern:
        return
    if Path(pattern).suffix not in (".pkl", ".json"):
        raise ValueError("expected a file that ends in .pkl (as CoOp writes it) or .json")
    if set("{}") & set(str(subset_path(pattern, 1, 1))):
        raise ValueError("expected no braces but {shots} and {seed}")


def subset_path(pattern: str, shots: int, seed: int) -> Path:
    """The file of a subset."""
    return Path(pattern.replace("{shots}", str(shots)).replace("{seed}", str(seed)))


def given_subset(data: DataSet, shots: int, seed: int) -> NDArray[np.int64]:
    """Positions in the train list of the images of a subset that the data set names (`data.subsets`), in its order.

    Raises:
        ValueError: no such file, one that cannot be read, images that the train list does not have, other labels than
            its own, more than `shots` images of a class, or classes without one.
    """
    path = subset_path(data.subsets, shots, seed)
    try:
        facts = path.stat()
        entries = _read(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise ValueError(
            f"{data.name}: the few-shot subset {path} cannot be read: {error.strerror}; bring it, or set "
            'data.few_shot = "" to draw one'
        ) from error
    found = [_position(data, image) for image, _ in entries]
    _check_found(data, path, [image for (image, _), position in zip(entries, found, strict=True) if position is None])
    positions = [position for position in found if position is not None]
    labels = [data.train.labels[position] for position in positions]
    for (image, label), own in zip(entries, labels, strict=True):
        if label != own:
            raise ValueError(f"{path}: found the label {label} of {image}, expected {own}, as {data.name} has it")
    counts = Counter(labels)
    wrong = [
        f"class {label} has {counts[label]}" for label in sorted({*data.train.labels}) if not 0 < counts[label] <= shots
    ]
    if wrong:
        shown = ", ".join(wrong[:_NUM_SHOWN]) + (" …" if len(wrong) > _NUM_SHOWN else "")
        raise ValueError(
            f"{path}: found {len(wrong)} classes without 1 to {shots} images: {shown}; is it another subset?"
        )
    return np.asarray(positions, dtype=np.int64)


def subset_content(data: DataSet, positions: NDArray[np.int64]) -> bytes:
    """A subset as the JSON that `given_subset` reads."""
    entries = [
        [data.train.paths[position], data.train.labels[position], data.class_names[data.train.labels[position]]]
        for position in positions.tolist()
    ]
    return json.dumps({"train": entries}, indent=0).encode() + b"\n"


@lru_cache(maxsize=64)
def _read(path: Path, _size: int, _changed_ns: int) -> tuple[tuple[str, int], ...]:
    """Path and label of each image. The last arguments tell a changed file."""
    if path.suffix == ".pkl":
        return tuple(read_coop_pickle(path))
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    entries = content.get("train") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, list) and [type(field) for field in entry] == [str, int, str] for entry in entries
    ):
        raise ValueError(f'{path}: expected {{"train": [[path, label, class name], ...]}}')
    return tuple((entry[0], entry[1]) for entry in entries)


def _position(data: DataSet, image: str) -> int | None:
    """Where the train list has an image, known by the longest end of its path."""
    positions = data.train.positions
    parts = PurePosixPath(image).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((positions[end] for end in ends if end in positions), None)


def _check_found(data: DataSet, path: Path, missing: list[str]) -> None:
    if not missing:
        return
    excluded = [image for image in missing if any(image.endswith(one) for one in data.excluded.paths)]
    why = f"; {len(excluded)} of them cannot be read and are excluded: mend them" if excluded else ""
    shown = ", ".join(missing[:_NUM_SHOWN]) + (" …" if len(missing) > _NUM_SHOWN else "")
    raise ValueError(
        f"{path}: found {len(missing)} images that the train list of {data.name} does not have ({shown}), expected all "
        f"of them in it{why}"
    )
