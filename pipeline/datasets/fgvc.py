"""Reads FGVCAircraft by its own lists: `images_variant_train.txt` and so on, and variants.txt, the order of classes.

A line of a list is the number of an image and its variant ("0056978 707-320"); the image is that number with `.jpg`.
Variants have spaces, dashes and slashes in them. Order is that of the lists.
"""

from pathlib import Path

from fdbpl.pipeline.datasets.class_names import read_lines
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.shards.files import lacking

LIST = "images_variant_{}.txt"


def read_fgvc(name: str, folder: Path, image_folder: str, variants: str) -> DataSet:
    """Read FGVCAircraft from its folder.

    Args:
        name: what to call it.
        folder: the data set's folder, which holds the lists.
        image_folder: the one with the images, relative to `folder`; or tar shards.
        variants: the text file of all class names, relative to `folder`.

    Raises:
        ValueError: a missing folder or file, a line that is not as it must be, a variant that variants.txt lacks.
    """
    root = folder / image_folder
    if reason := lacking(root):
        raise ValueError(f"data set {name}: {reason}")
    class_names = tuple(line for line in read_lines(folder / variants) if line)
    labels = {class_name: label for label, class_name in enumerate(class_names)}
    return DataSet(
        name=name,
        root=root,
        class_names=class_names,
        train=_read_list(folder / LIST.format("train"), labels, variants),
        val=_read_list(folder / LIST.format("val"), labels, variants),
        test=_read_list(folder / LIST.format("test"), labels, variants),
    )


def _read_list(path: Path, labels: dict[str, int], variants: str) -> Split:
    found: list[tuple[str, int]] = []
    for number, line in enumerate(read_lines(path), 1):
        image, _, variant = line.partition(" ")
        if not line:
            continue
        if variant not in labels:
            raise ValueError(
                f"{path}, line {number}: found {line!r}, expected the number of an image and one of the "
                f"{len(labels)} names of {variants}"
            )
        found.append((f"{image}.jpg", labels[variant]))
    return Split(paths=tuple(image for image, _ in found), labels=tuple(label for _, label in found))
