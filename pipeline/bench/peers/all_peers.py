"""All readers of the benchmark by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fdbpl.pipeline.bench.data import Data
from fdbpl.pipeline.bench.peers.fdbpl_peer import FdbplPeer
from fdbpl.pipeline.bench.peers.h5py_peer import H5pyPeer
from fdbpl.pipeline.bench.peers.lmdb_peer import LmdbPeer
from fdbpl.pipeline.bench.peers.numpy_peer import NumpyPeer
from fdbpl.pipeline.bench.peers.peer import Peer
from fdbpl.pipeline.bench.peers.pickle_peer import PicklePeer
from fdbpl.pipeline.bench.peers.tensorstore_peer import TensorstorePeer
from fdbpl.pipeline.bench.peers.zarr_peer import ZarrPeer

PEERS: tuple[type[Peer], ...] = (FdbplPeer, NumpyPeer, ZarrPeer, TensorstorePeer, H5pyPeer, LmdbPeer, PicklePeer)
NAMES = tuple(peer.name for peer in PEERS)


def make_peers(names: Sequence[str], folder: Path, data: Data) -> tuple[list[Peer], list[dict[str, str]]]:
    """The peers of these names whose library is installed, and what is skipped: its name, the reason, the cure.

    Raises:
        ValueError: a name that no peer has.
    """
    classes = {peer.name: peer for peer in PEERS}
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise ValueError(f"readers: found {', '.join(unknown)}, expected some of {', '.join(NAMES)}")
    peers = [classes[name](folder, data) for name in names]
    skipped = [
        {
            "reader": peer.name,
            "reason": f"{peer.package} is not installed",
            "install": f"pip install '{peer.extra}'",
        }
        for peer in peers
        if not peer.is_installed
    ]
    return [peer for peer in peers if peer.is_installed], skipped
