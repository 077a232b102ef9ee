"""What the benchmark asks of a reader, ours or another's.

A peer is a few paths and numbers until it is opened, so it can be sent to another process. It imports its
library when it builds or opens, never before: one whose library is not there can still say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar, Protocol

from fdbpl.pipeline.bench.data import Data, Numbers, Rows


class Peer(Protocol):
    """One way to store the rows and to read them back.

    Subclasses give the class variables, and the five methods without a body; the others may stay as they are.

    Args:
        folder: where the formats lie, each under a name of its own; several peers may share one.
        data: the rows.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    """The distribution that must be installed."""
    extra: ClassVar[str] = "fdbpl"
    """What pip is asked for to get it."""
    setting: ClassVar[str]
    """How the library is used, in words."""
    warm_up_seconds: ClassVar[float] = 1.0
    """At most so long each process reads before it is timed warm; 0 where it keeps nothing."""

    folder: Path
    data: Data

    def __init__(self, folder: Path, data: Data) -> None:
        self.folder = folder
        self.data = data

    @property
    def version(self) -> str:
        return version(self.package)

    @property
    def is_installed(self) -> bool:
        try:
            return bool(self.version)
        except PackageNotFoundError:
            return False

    def formats(self) -> Mapping[str, int]:
        """The files or folders that the peer reads, by their name in `folder`, and how many bytes each will take."""
        ...

    def build(self) -> None:
        """Write the formats; one that is there already, from a peer that shares it, is left as it is."""
        ...

    def open(self) -> None:
        """Open for reading. Not timed."""
        ...

    def close(self) -> None:
        """Give back files, maps and memory; may be opened again."""
        ...

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        """Copy the rows of B views into `out`, [B, C]."""
        ...

    def read_plane(self, seed: int, out: Rows) -> None:
        """Copy the rows of all images with one seed into `out`, [N, C]."""
        ...

    def prefetch_rows(self, images: Numbers, seeds: Numbers) -> None:
        """Told of the batch after next while the disk is cold; most libraries have no use for it."""
        return None

    def prefetch_plane(self, seed: int) -> None:
        """Told of the plane after next while the disk is cold."""
        return None
