"""What `fdbpl bench decode` asks of a decoder, ours or another's."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fdbpl.pipeline.bench.decode_peers.views import Views

# Each file is decoded once for all of its crops, or once for each of them.
ONCE, EACH = "once", "each"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to make the crops of some views.

    Attributes:
        workload: ONCE or EACH.
        crops: makes crops, [B, 3, SIDE, SIDE], uint8 but for data sets that make them float: those of all views, in
            order, or the next batch of them.
        drain: takes what was made while others had their turn.
        setting: how the library is used, in words; such a way makes all crops, and is compared with Pillow's pixels.
    """

    workload: str
    crops: Callable[[], Tensor]
    drain: Callable[[], None] | None = None
    setting: str = ""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Why a peer cannot run here, and what mends it."""

    reason: str
    install: str


class DecodePeer(Protocol):
    """A decoder that is compared. It imports its library when it is asked, never before."""

    @property
    def name(self) -> str: ...

    def missing(self) -> Missing | None:
        """None where it can run."""

    def ways(self, views: Views, stack: ExitStack) -> Iterator[Way]:
        """The ways to make the crops of these views; what they start ends with the stack."""
