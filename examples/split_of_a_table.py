"""A data set of your own: a split file from a table of images, as `data.split` reads it.

    python examples/split_of_a_table.py photos/table.csv photos/split.json

The table has the columns path (relative to the folder of the images), class, and part (train, val or test). Then:

    [data]
    name = "photos"
    folder = "photos"
    images = "."
    split = "split.json"
"""

import csv
import json
import sys
from pathlib import Path

PARTS = ("train", "val", "test")


def split_of(table: Path) -> dict[str, list[list[str | int]]]:
    """Part -> [path, label, class name] of each image; labels in the order in which classes first appear."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = {name: label for label, name in enumerate(dict.fromkeys(row["class"] for row in rows))}
    split: dict[str, list[list[str | int]]] = {part: [] for part in PARTS}
    for number, row in enumerate(rows, start=2):
        if row["part"] not in PARTS:
            raise SystemExit(f"{table}:{number}: found the part {row['part']!r}, expected one of {', '.join(PARTS)}")
        split[row["part"]].append([row["path"], labels[row["class"]], row["class"]])
    return split


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    found = split_of(source)
    target.write_text(json.dumps(found))
    print(f"{target}: " + ", ".join(f"{len(entries)} {part}" for part, entries in found.items()))  # noqa: T201
