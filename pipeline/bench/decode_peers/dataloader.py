"""What the others are compared with: a data set of single views, decoded by Pillow in a DataLoader's workers."""

import multiprocessing
from collections.abc import Generator, Iterator
from contextlib import ExitStack

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fdbpl.pipeline.bench.decode_peers.peer import EACH, Missing, Way
from fdbpl.pipeline.bench.decode_peers.views import SIDE, Views

# The workers make the crops float and normalise them too, as the field's code does. Ours stay uint8 until they are on
# the device.
PUBLIC = "pillow in a DataLoader"
# The same without that.
PLAIN = "pillow in a DataLoader, uint8"
# Views of a batch.
BATCH = 16
_EPOCHS = 100_000
# CLIP's normalisation.
_MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(3, 1, 1)
_STD = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)


class DataLoaderPeer:
    """Batches of a DataLoader whose workers start and end with each turn."""

    def __init__(self, name: str, workers: int) -> None:
        self.name = name
        self._workers = workers

    def missing(self) -> Missing | None:
        return None

    def ways(self, views: Views, stack: ExitStack) -> Iterator[Way]:
        loader = _Loader(_SingleViews(views, is_public=self.name == PUBLIC), self._workers)
        stack.callback(loader.stop)
        yield Way(workload=EACH, take=loader.take, before=loader.start, after=loader.stop)


class _SingleViews(Dataset[Tensor]):
    """A view a time, decoded by Pillow, as data sets of the field do it; over and over, since the end of an epoch would
    cost a loader of so few images more than one of many."""

    def __init__(self, views: Views, *, is_public: bool) -> None:
        self._views, self._is_public = views, is_public

    def __len__(self) -> int:
        return _EPOCHS * len(self._views)

    def __getitem__(self, number: int) -> Tensor:
        views, view = self._views, number % len(self._views)
        top, left, height, width = views.boxes_B4[view].tolist()
        with Image.open(views.paths[views.image_B[view]]) as image:
            window = image.convert("RGB").crop((left, top, left + width, top + height))
        window = window.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        if views.flips_B[view]:
            window = window.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(window)).permute(2, 0, 1)
        return (pixels.contiguous().float().div(255) - _MEAN) / _STD if self._is_public else pixels


class _Loader:
    """A loader without an end, which runs during its turns only: filling its queue again takes both of two cores for
    seconds, which those whose turn comes next would have to do without."""

    def __init__(self, views: _SingleViews, workers: int) -> None:
        self._views, self._workers = views, workers
        self._batches: Generator[Tensor, None, None] | None = None

    def start(self) -> None:
        """Start the workers, and take what each makes first."""
        self.take()

    def take(self) -> int:
        """A batch of each worker: they end together, so that one batch alone would come late or at once."""
        if self._batches is None:
            self._batches = self._run()
        return sum(len(next(self._batches)) for _ in range(self._workers))

    def stop(self) -> None:
        if self._batches is not None:
            self._batches.close()
        self._batches = None

    def _run(self) -> Generator[Tensor, None, None]:
        # Other ways have run in this process, with threads of their own: a fork of it may end by a segmentation fault.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        yield from DataLoader(
            self._views,
            batch_size=BATCH,
            num_workers=self._workers,
            prefetch_factor=2,
            multiprocessing_context=context,
        )
