"""Our decoders: once for all crops of a file, and, to show what that saves, once for each crop."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from fdbpl.pipeline.bench.decode_peers.peer import EACH, ONCE, Missing, Way
from fdbpl.pipeline.bench.decode_peers.views import SIDE, Views
from fdbpl.pipeline.loading.decoder import make_decoder


class OurDecoder:
    """The decoder of that name that delivers to the device. Raises ValueError where it is not there."""

    def __init__(self, name: str, device: str) -> None:
        self.name = name
        self._decoder = make_decoder(name, device)

    def missing(self) -> Missing | None:
        return None

    def ways(self, views: Views, stack: ExitStack) -> Iterator[Way]:
        yield Way(workload=ONCE, take=self._cutter(views))
        if not views.are_alone:
            yield Way(workload=EACH, take=self._cutter(views.each_alone()))

    def _cutter(self, views: Views) -> Callable[[], int]:
        return lambda: len(self._decoder.windows(views.paths, views.image_B, views.boxes_B4, views.flips_B, SIDE))
