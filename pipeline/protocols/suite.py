"""A protocol of the field as ordinary runs: one for each data set, or one that carries prompts to others.

Each run has a config file and a folder of its own, so that every command for runs works on it.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdbpl.pipeline.config import Protocol, RunConfig
from fdbpl.pipeline.config_file import parse_config, read_values
from fdbpl.pipeline.datasets.catalog import ELEVEN, KNOWN, VARIANTS
from fdbpl.pipeline.options import unknown_key

# Whose prompts are carried to other data sets.
SOURCE = "imagenet"


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """One run of a suite: the data set that it learns from, its config, and where this is kept as a file."""

    name: str
    config: RunConfig
    file: Path


@dataclass(frozen=True, kw_only=True)
class Suite:
    """All runs of a protocol, below one folder."""

    protocol: Protocol
    folder: Path
    runs: tuple[SuiteRun, ...]


def make_suite(
    protocol: Protocol,
    path: Path,
    *,
    root: Path | None = None,
    data_sets: Sequence[str] = (),
    overrides: tuple[str, ...] = (),
) -> Suite:
    """The suite of a protocol by a config of which all but data set and tests is taken.

    Args:
        path: the config; its `folder` holds the runs' folders.
        root: the folder of the data sets, each in its own as CoOp has them; the config's data folder's parent where
            None.
        data_sets: those learned from, or carried to by protocols that carry; all of the field's where empty.

    Raises:
        ValueError: as of `read_config`; an unknown data set; a store that all runs would share.
    """
    values = read_values(path, overrides)
    base = path.resolve().parent
    root = (base / str(values.get("data", {}).get("folder", "data/x"))).parent if root is None else root.resolve()
    carries = protocol in ("cross-dataset", "domain-generalisation")
    usual = VARIANTS if protocol == "domain-generalisation" else ELEVEN[1:] if protocol == "cross-dataset" else ELEVEN
    chosen = tuple(data_sets) or usual
    for name in chosen:
        if name not in KNOWN:
            raise ValueError(unknown_key("data sets", name, list(KNOWN)))
    learned, targets = ((SOURCE,), chosen) if carries else (chosen, ())
    store = Path(str(values.get("store", {}).get("path", "store.zarr")))
    if store.is_absolute() and len(learned) > 1:
        raise ValueError(
            f"{path}: found store.path = {str(store)!r}, one for {len(learned)} data sets, expected a relative one, "
            "which lies in each run's folder"
        )
    runs = []
    for name in learned:
        own = _values_of(values, protocol, name, targets, root)
        config = parse_config(own, base=base, where=f"{path} for {name}")
        runs.append(SuiteRun(name=name, config=config, file=config.folder.with_suffix(".toml")))
    return Suite(protocol=protocol, folder=base / str(values.get("folder", "")), runs=tuple(runs))


def _values_of(
    values: dict[str, Any], protocol: Protocol, name: str, targets: Sequence[str], root: Path
) -> dict[str, Any]:
    """The plain values of one run."""
    own = deepcopy(values)
    own["folder"] = str(Path(str(own.get("folder", ""))) / name)
    kept = {key: own.get("data", {})[key] for key in ("digests", "bad_images") if key in own.get("data", {})}
    own["data"] = {**kept, "name": name, "folder": str(root / KNOWN[name].folder)}
    own["evaluate"] = {
        **own.get("evaluate", {}),
        "protocol": protocol,
        "targets": [{**kept, "name": target, "folder": str(root / KNOWN[target].folder)} for target in targets],
    }
    classes = "base" if protocol == "base-to-new" else "all"
    own["student"] = [{**table, "classes": classes} for table in own.get("student", [])]
    return own
