"""The test data on the disk: room for them, writing each format once, and checking that every reader reads them.

All lies in a folder of the benchmark's own, so nothing of another program is ever replaced. A format is marked
when it is whole; with the same rows it is used again, a part of one is written anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fdbpl.cache_layout.store import FORMAT_VERSION
from fdbpl.pipeline.bench.data import ROWS_DTYPE, Data
from fdbpl.pipeline.bench.page_cache import files_below, flush
from fdbpl.pipeline.bench.peers.peer import Peer
from fdbpl.pipeline.progress import OnProgress
from fdbpl.pipeline.whole_file import replace_json

OWN_FOLDER = "fdbpl-bench"
_NUM_CHECKED_VIEWS = 2048


class WrongRows(ValueError):
    """A reader gave other rows than were generated: nothing is measured."""


def space(peers: Sequence[Peer], folder: Path) -> dict[str, Any]:
    """Bytes that are to be written, by format, and bytes that are free where `folder` is or will be."""
    formats = {name: size for peer in peers for name, size in peer.formats().items()}
    missing = {name: size for name, size in formats.items() if not _is_whole(folder / name, peers[0].data)}
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    to_write, free = sum(missing.values()), shutil.disk_usage(there).free
    return {
        "folder": str(folder),
        "formats": formats,
        "bytes_to_write": to_write,
        "bytes_free": free,
        "fits": to_write <= free,
    }


def build(peers: Sequence[Peer], folder: Path, on_progress: OnProgress) -> None:
    """Write every format that is not there yet, and flush it.

    Raises:
        ValueError: not enough room, or the folder holds other rows.
    """
    needed = space(peers, folder)
    if not needed["fits"]:
        raise ValueError(
            f"found {needed['bytes_free'] / 1e9:.2f} GB free at {folder}, "
            f"expected {needed['bytes_to_write'] / 1e9:.2f} GB for the test data: "
            "choose another --folder, or fewer --images, --seeds or --readers"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for number, peer in enumerate(peers):
        on_progress(number, len(peers))
        names = list(peer.formats())
        if not all(_is_whole(folder / name, peer.data) for name in names):
            for name in names:
                _remove(folder / name)
            peer.build()
            flush(files_below([folder / name for name in names]))
            for name in names:
                replace_json(_mark(folder / name), _stamp(peer.data))
    on_progress(len(peers), len(peers))


def check(peers: Sequence[Peer], data: Data) -> None:
    """Compare what every reader gives with the generated rows: random views, and the first, a middle and last plane.

    Raises:
        WrongRows: with the reader and the first view that differs.
    """
    images, seeds = (numbers[:_NUM_CHECKED_VIEWS] for numbers in data.views(stream=0))
    rows = np.empty((len(images), data.num_classes), ROWS_DTYPE)
    planes = {}
    for seed in range(data.num_seeds):
        plane = data.plane(seed)
        rows[seeds == seed] = plane[images[seeds == seed]]
        if seed in (0, data.num_seeds // 2, data.num_seeds - 1):
            planes[seed] = plane
    for peer in peers:
        peer.open()
        try:
            found = np.zeros_like(rows)
            peer.read_rows(images, seeds, found)
            _compare(peer, found, rows, lambda n: f"image {images[n]}, seed {seeds[n]}")
            for seed, plane in planes.items():
                found = np.zeros_like(plane)
                peer.read_plane(seed, found)
                _compare(peer, found, plane, lambda n, seed=seed: f"image {n} of the plane of seed {seed}")
        finally:
            peer.close()


def _compare(peer: Peer, found: Any, expected: Any, where: Any) -> None:
    wrong = np.flatnonzero((found.view(np.uint16) != expected.view(np.uint16)).any(axis=1))
    if len(wrong):
        raise WrongRows(
            f"{peer.name} gives other rows than were written, {len(wrong)} of {len(expected)}, first for "
            f"{where(int(wrong[0]))}: nothing is measured; {peer.setting} ({peer.package} {peer.version})"
        )


def _is_whole(path: Path, data: Data) -> bool:
    try:
        found = json.loads(_mark(path).read_text())
    except FileNotFoundError:
        return False
    if found != _stamp(data):
        raise ValueError(
            f"found {path} with rows of {found}, expected {_stamp(data)}: "
            f"choose another --folder, or remove {path.parent}"
        )
    return path.exists()


def _stamp(data: Data) -> dict[str, int]:
    """What test data are made from: data of another stamp are not used."""
    return {**asdict(data), "store_format": FORMAT_VERSION}


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _remove(path: Path) -> None:
    _mark(path).unlink(missing_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
