"""Kills processes that copy, export or import, at random moments; run as a script, since only a process without
threads should fork. Each kill is followed by one that is left alone, which must make what is expected.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import zarr  # noqa: F401  imported once, before the forks
from store_example import content

from fdbpl.cache_layout.archive import export_archive, import_archive
from fdbpl.cache_layout.staging import stage_store

ACTIONS: dict[str, Callable[[Path, Path], object]] = {
    "stage": lambda source, folder: stage_store(source, folder, wait_seconds=0),
    "export": lambda source, folder: export_archive(source, folder / "made"),
    "import": lambda source, folder: import_archive(source, folder / "made"),
}


def stage_and_count(source: Path, folder: Path) -> tuple[Path, bool, int]:
    """Stage a store in a process of its own: the copy's path, whether this process made it, and its inode."""
    calls: list[tuple[int, int]] = []
    path = stage_store(source, folder, on_progress=lambda *at: calls.append(at))
    return path, bool(calls), path.stat().st_ino


def start(action: str, source: Path, folder: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            ACTIONS[action](source, folder)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def kill_copiers(action: str, source: Path, expected: Path, folder: Path, wanted: int) -> None:
    """Kill until `wanted` kills left half a copy; the moments adapt themselves to the speed of the machine."""
    moments = random.Random(0)
    longest = 0.1
    cut_off = tries = 0
    while cut_off < wanted:
        tries += 1
        assert tries < 30 * wanted, f"only {cut_off} kills fell into a copy"
        place = folder / f"{tries}"
        place.mkdir()
        child = start(action, source, place)
        time.sleep(moments.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        longest *= 1.2 if os.WIFSIGNALED(status) else 0.8
        left = [path for path in place.iterdir() if ".tmp-" not in path.name and not path.name.endswith(".lock")]
        assert all(content(path) == content(expected) for path in left), "half a copy has its final name"
        cut_off += any(".tmp-" in path.name for path in place.iterdir())
        if not left:
            _, status = os.waitpid(start(action, source, place), 0)
            assert status == 0, "the next one failed"
        (made,) = place.iterdir()
        assert content(made) == content(expected)
        shutil.rmtree(place)
    print(cut_off, tries)


if __name__ == "__main__":
    kill_copiers(sys.argv[1], *map(Path, sys.argv[2:5]), int(sys.argv[5]))
