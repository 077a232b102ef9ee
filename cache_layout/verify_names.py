"""Which names below a store do not belong to it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from fdbpl.cache_layout.files import TEMPORARY
from fdbpl.cache_layout.findings import FOREIGN, Finding

PENDING = ".records"


def other_names(
    store: Path, files: Collection[str], folders: Collection[str], leftovers: Collection[str]
) -> tuple[list[Finding], list[str]]:
    """Findings for what does not belong, and notes on what unfinished work left, which does no harm.

    Args:
        files: that belong, by their paths inside the store.
        folders: that belong with all that is in them.
        leftovers: files that belong to work that is not finished.
    """
    parents = {name[:at] for name in (*files, *folders, *leftovers) for at, sign in enumerate(name) if sign == "/"}
    findings: list[Finding] = []
    notes: Counter[str] = Counter()
    for name, is_folder in _entries(store, "", parents):
        last = name.rsplit("/", 1)[-1]
        if name in folders or (name in files and not is_folder):
            continue
        if name == PENDING or name.startswith(f"{PENDING}/"):
            notes["files of blocks that are not sealed yet, below .records"] += 1
        elif last.startswith(TEMPORARY):
            notes["temporary files of writers that were killed, or are at work"] += 1
        elif name in leftovers:
            notes["files of blocks that have no record yet"] += 1
        elif last.startswith("_seal-") and is_folder and f"{name.rsplit('/', 1)[0]}/zarr.json" in files:
            notes["tables of records that no seal names"] += 1
        elif name not in files:
            findings.append(Finding(kind=FOREIGN, file=name, what=_what(store / name, is_folder)))
    return findings, [f"{count} {what}" for what, count in sorted(notes.items())]


def _entries(store: Path, folder: str, parents: Collection[str]) -> Iterator[tuple[str, bool]]:
    """Files, and folders that are nobody's parent, each folder's in the order of their names."""
    try:
        entries = sorted(os.scandir(store / folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        name = f"{folder}/{entry.name}" if folder else entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and (name in parents or name == PENDING or name.startswith(f"{PENDING}/")):
            yield from _entries(store, name, parents)
        else:
            yield name, is_folder


def _what(path: Path, is_folder: bool) -> str:
    if not is_folder:
        return "the store has no such file"
    count = sum(len(files) for _, _, files in os.walk(path))
    return f"the store has no such folder; {count} files lie in it"
