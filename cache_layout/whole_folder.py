"""Folders that appear whole or not at all: built under a temporary name beside their place, flushed, renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fdbpl.cache_layout.files import TEMPORARY, sync_folder, sync_tree, temporary_name


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that takes the name `path` at the end; on an error it is removed.

    Where another process has taken the name meanwhile, that one's folder stays.
    """
    building = path.parent / f".{path.name}{temporary_name()}"
    building.mkdir(parents=True)
    try:
        yield building
        sync_tree(building)
        rename_folder(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def rename_folder(source: Path, target: Path) -> None:
    """Rename a folder; where another one has taken the name first, that one stays."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    sync_folder(target.parent)


def is_occupied(path: Path) -> bool:
    """Whether there is anything but an empty folder."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def free_place(path: str | Path, source: Path) -> Path:
    """The path, absolute; ValueError where something is there, or where it lies inside `source`."""
    place = Path(path).resolve()
    if place.is_relative_to(source.resolve()):
        raise ValueError(f"found {path}, inside {source}, expected a path outside of it")
    if is_occupied(place):
        raise ValueError(f"found {path} already, expected a new path: remove it, or choose another")
    return place


def leftovers(path: Path) -> list[Path]:
    """The temporary folders of `path`: of processes that build it now, and of those that were killed."""
    prefix = f".{path.name}{TEMPORARY}"
    return sorted(found for found in path.parent.glob(".*") if found.name.startswith(prefix))


def sweep_dead(path: Path) -> None:
    """Remove the temporary folders of `path` whose process, one of this machine, is gone."""
    ours = temporary_name().removeprefix(TEMPORARY).rsplit("-", 2)[0]
    for folder in leftovers(path):
        named = re.fullmatch(r"(.*)-(\d+)-[0-9a-f]+", folder.name.removeprefix(f".{path.name}{TEMPORARY}"))
        if named and named[1] == ours and not _is_alive(int(named[2])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
