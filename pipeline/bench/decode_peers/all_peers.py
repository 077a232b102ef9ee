"""The decoders of the benchmark by name."""

from collections.abc import Sequence

from fdbpl.pipeline.bench.decode_peers.dataloader import PLAIN, PUBLIC, DataLoaderPeer
from fdbpl.pipeline.bench.decode_peers.our_decoders import OurDecoder
from fdbpl.pipeline.bench.decode_peers.peer import DecodePeer
from fdbpl.pipeline.bench.decode_peers.spdl_peer import SpdlPeer


def make_decode_peers(
    backends: Sequence[str], device: str, workers: int
) -> tuple[list[DecodePeer], list[dict[str, str]]]:
    """Both DataLoaders and these backends, less what is skipped: its name, the reason, the cure.

    Raises:
        ValueError: a backend that nobody has, or one of ours that is not installed.
    """
    peers: list[DecodePeer] = [DataLoaderPeer(PUBLIC, workers), DataLoaderPeer(PLAIN, workers)]
    peers += [SpdlPeer() if name == SpdlPeer.name else OurDecoder(name, device) for name in backends]
    found, skipped = [], []
    for peer in peers:
        if missing := peer.missing():
            skipped.append({"backend": peer.name, "reason": missing.reason, "install": missing.install})
        else:
            found.append(peer)
    return found, skipped
