"""What `fdbpl bench decode` asks of a decoder, ours or another's."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fdbpl.pipeline.bench.decode_peers.views import Views

# Each file is decoded once for all of its crops, or once for each of them.
ONCE, EACH = "once", "each"


def nothing() -> None:
    """Some ways have nothing to do before or after their turns."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to make the crops of some views.

    Attributes:
        workload: ONCE or EACH.
        take: makes crops, of all views or the next of them, and gives their number.
        before, after: called before and after each turn.
        crops: of all views in order, uint8 [B, 3, SIDE, SIDE]; where given, they are compared with Pillow's.
        setting: how the library is used, in words.
    """

    workload: str
    take: Callable[[], int]
    before: Callable[[], None] = nothing
    after: Callable[[], None] = nothing
    crops: Callable[[], Tensor] | None = None
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
