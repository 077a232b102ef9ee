"""A preset fitted to somebody's own data set: nothing in the config is left to edit.

Of a folder of class folders no more is known than what lies there, so it is looked at: shots are no more than the
smallest class has training images, and with too few classes to be halved all are learned and tested.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from fdbpl.pipeline.config import DataConfig, StudentConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.catalog import KNOWN
from fdbpl.pipeline.datasets.data_set import DataSet

# With fewer, a half of the classes is a single one, which nothing can be mistaken for.
_LEAST_TO_HALVE = 4


def fit_to(values: dict[str, Any], folder: Path, base: Path) -> tuple[dict[str, Any], list[str]]:
    """A preset's values for the data set in `folder`, and what was fitted, for people.

    Args:
        base: the folder of the config file, from which a data set inside it is named.

    Raises:
        ValueError: a preset over several data sets; no data set there, or one that nothing can be learned from.
    """
    if values.get("evaluate", {}).get("targets"):
        raise ValueError(
            "--data: found a preset over several data sets, expected base-to-new, few-shot, methods or tiny"
        )
    if not folder.is_dir():
        raise ValueError(f"--data: found no folder {folder}, expected one with a folder of images for each class")
    inside = folder.resolve().is_relative_to(base.resolve())
    named = os.path.relpath(folder.resolve(), base.resolve()) if inside else str(folder.resolve())
    section = {"name": _name(folder), "folder": named}
    data = load_data(DataConfig(name=section["name"], folder=folder))
    fewest = _fewest(data)
    told = [f"{len(data.class_names)} classes, {len(data.train)} training images, {len(data.test)} test images"]
    teacher = {key: value for key, value in values["teacher"].items() if key != "templates"}
    fitted = {**values, "folder": f"runs/{section['name']}", "data": section, "teacher": teacher}
    fitted["student"] = [_with_shots(table, fewest) for table in values["student"]]
    if fitted["student"] != values["student"]:
        told.append(f"shots are {fewest} at most: the smallest class has no more training images")
    if len(data.class_names) < _LEAST_TO_HALVE and values.get("evaluate", {}).get("protocol") != "few-shot":
        fitted["student"] = [{**table, "classes": "all"} for table in fitted["student"]]
        fitted["evaluate"] = {**values.get("evaluate", {}), "protocol": "few-shot"}
        told.append("too few classes to halve into base and new: all are learned, and tested (protocol few-shot)")
    return fitted, told


def _name(folder: Path) -> str:
    """A known data set's name by its folder's, else the folder's own, fit for files."""
    own = folder.resolve().name
    known = [one.name for one in KNOWN.values() if one.folder == own or one.name == own]
    return known[0] if known else re.sub(r"[^A-Za-z0-9_-]+", "_", own).strip("_") or "data"


def _fewest(data: DataSet) -> int:
    if len(data.class_names) < 2:
        raise ValueError(f"--data: found {len(data.class_names)} class in {data.root}, expected two at least")
    counts = Counter(data.train.labels)
    fewest = min(counts[label] for label in range(len(data.class_names)))
    if not fewest:
        raise ValueError(
            f"--data: found a class without a training image in {data.root}, expected one at least of each"
        )
    return fewest


def _with_shots(table: dict[str, Any], fewest: int) -> dict[str, Any]:
    """The table with shots that every class has; 0 takes all there are."""
    given = table.get("shots", StudentConfig.model_fields["shots"].default)
    shots = [given] if isinstance(given, int) else list(given)
    fitted = list(dict.fromkeys(min(one, fewest) for one in shots))
    return table if fitted == shots else {**table, "shots": fitted}
