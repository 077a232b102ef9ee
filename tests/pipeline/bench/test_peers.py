"""Every reader by itself: it gives the rows, fits its forecast, and can be sent to another process."""

import pickle
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

from fdbpl.pipeline.bench.data import ROWS_DTYPE, Data
from fdbpl.pipeline.bench.page_cache import files_below
from fdbpl.pipeline.bench.peers import peer as peer_module
from fdbpl.pipeline.bench.peers.all_peers import NAMES, PEERS, make_peers
from fdbpl.pipeline.bench.peers.peer import Peer

each_peer = pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.name)


def made(kind: type[Peer], folder: Path, data: Data) -> Peer:
    peer = kind(folder, data)
    if not peer.is_installed:
        pytest.skip(f"{peer.package} is not installed: pip install '{peer.extra}'")
    peer.build()
    return peer


@each_peer
def test_a_peer_gives_the_rows_that_were_generated(kind: type[Peer], folder: Path, data: Data) -> None:
    peer = pickle.loads(pickle.dumps(made(kind, folder, data)))
    planes_SNC = np.stack([data.plane(seed) for seed in range(data.num_seeds)])
    images, seeds = (numbers[:300] for numbers in data.views(0))
    for _ in range(2):  # opened again after it was closed
        peer.open()
        rows = np.zeros((300, data.num_classes), ROWS_DTYPE)
        peer.prefetch_rows(images, seeds)
        peer.read_rows(images, seeds, rows)
        np.testing.assert_array_equal(rows, planes_SNC[seeds, images])
        for seed in range(data.num_seeds):
            plane = np.zeros((data.num_images, data.num_classes), ROWS_DTYPE)
            peer.prefetch_plane(seed)
            peer.read_plane(seed, plane)
            np.testing.assert_array_equal(plane, planes_SNC[seed])
        peer.close()


@each_peer
@pytest.mark.parametrize("num_classes", [8, 1000, 3000])
def test_a_peer_takes_no_more_bytes_than_it_says(kind: type[Peer], num_classes: int, folder: Path) -> None:
    peer = made(kind, folder, Data(num_images=40, num_seeds=4, num_classes=num_classes))
    for name, size in peer.formats().items():
        found = sum(file.stat().st_blocks * 512 for file in files_below([folder / name]))
        assert found <= size + (1 << 16)


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def found(package: str) -> str:
        if package == missing:
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(peer_module, "version", found)


def test_an_absent_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, folder: Path, data: Data) -> None:
    without(monkeypatch, "lmdb")
    peers, skipped = make_peers(("numpy", "lmdb", "fdbpl"), folder, data)
    assert [peer.name for peer in peers] == ["numpy", "fdbpl"]
    assert skipped == [
        {"reader": "lmdb", "reason": "lmdb is not installed", "install": "pip install 'fdbpl[bench]'"},
    ]


def test_an_unknown_reader_is_refused_with_the_known_ones(folder: Path, data: Data) -> None:
    with pytest.raises(ValueError, match=r"found numpi, expected some of fdbpl, numpy, zarr-python"):
        make_peers(("numpi",), folder, data)


def test_peers_import_their_library_late_and_say_how_they_use_it() -> None:
    assert len(set(NAMES)) == 7
    assert all(kind.setting for kind in PEERS)


@pytest.mark.parametrize("name", ["numpy", "h5py", "fdbpl"])
def test_closing_twice_or_before_opening_does_no_harm(name: str, folder: Path, data: Data) -> None:
    peers, _ = make_peers((name,), folder, data)
    close: Callable[[], None] = peers[0].close
    close()
    close()
