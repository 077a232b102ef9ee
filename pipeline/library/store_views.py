"""A store as a torch data set, for training loops of your own: views with the teacher's labels, and the very pixels
that the teacher saw.

A view is a pair (image, crop seed). What is drawn in an epoch follows from (seed, epoch) alone, by the policies that
fdbpl's own students use, so a loop that was stopped goes on where it was. Items are batches, read by one call for each
array: view by view would cost a hundred times as much.
Letters: B views of a batch, N images, S seeds, M chosen images, C classes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.labels.manifest import CLASS_LIST
from fdbpl.pipeline.labels.stored import stored_labels
from fdbpl.pipeline.loading.decoder import kept_decoder
from fdbpl.pipeline.loading.windows import Pixels, StoredWindows
from fdbpl.pipeline.training.sampling import Sampler, epoch_order

Batch = dict[str, Tensor]


class StoreViews(Dataset[Batch]):
    """The views of a store. Picklable: workers of a DataLoader open it for themselves, forked or spawned.

    Args:
        store: path of a sealed store.
        class_names: C classes that labels are over; None: all that the teacher was asked for.
        images: M image numbers of the store that are used, see `paths`; None: all.
        arrays: names of further arrays of the store, such as "teacher/embedding".
        folder: the images' folder, for `pixels`; None: no image is read.
        size: side of the pixels; None: as the teacher saw them.
        decoder: pillow, torchvision or dali; None: the one that cut the teacher's crops.

    Raises:
        CacheError: no store, one that is not sealed, or one without labels over these classes.
        ValueError: image numbers that the store has not; a decoder that is not installed.
    """

    def __init__(
        self,
        store: str | Path,
        *,
        class_names: Sequence[str] | None = None,
        images: Sequence[int] | npt.NDArray[np.int64] | None = None,
        arrays: Sequence[str] = (),
        folder: str | Path | None = None,
        size: int | None = None,
        decoder: str | None = None,
    ) -> None:
        self._reader = open_reader(store)
        self.class_names = tuple(
            self._reader.class_list(CLASS_LIST).class_names if class_names is None else class_names
        )
        self._labels = stored_labels(self._reader, self.class_names)
        self.images_M = np.arange(self._reader.num_images) if images is None else np.asarray(images, dtype=np.int64)
        wrong = self.images_M[(self.images_M < 0) | (self.images_M >= self._reader.num_images)]
        if len(wrong):
            raise ValueError(f"found the image {wrong[0]}, expected numbers from 0 to {self._reader.num_images - 1}")
        self._arrays, self._folder = tuple(arrays), None if folder is None else Path(folder)
        fields = self._reader.manifest.fields
        self.size = int(fields["crops"]["size"]) if size is None else size
        self._decoder_name = str(fields["decoder"]["name"]) if decoder is None else decoder
        self._pixels: Pixels | None = None
        if self._folder is not None:
            kept_decoder(self._decoder_name, "cpu")  # refused here, not in a worker

    @property
    def paths(self) -> Sequence[str]:
        """Of all images of the store, relative to the folder of the images."""
        return self._reader.images.paths

    @property
    def num_seeds(self) -> int:
        return self._reader.num_seeds

    def __len__(self) -> int:
        """Views: M images times S seeds."""
        return len(self.images_M) * self.num_seeds

    def __getitem__(self, views: int | Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """A batch, of views by their numbers: place among the chosen images times S, plus crop seed.

        Returns:
            image and seed int64 [B], logits float32 [B, C], each array by its name [B, ...], and where there is a
            folder pixels uint8 [B, 3, size, size]. Of one number the same without the axis B.
        """
        views_B = np.atleast_1d(np.asarray(views, dtype=np.int64))
        images_B, seeds_B = self.images_M[views_B // self.num_seeds], views_B % self.num_seeds
        batch = {
            "image": torch.from_numpy(images_B),
            "seed": torch.from_numpy(seeds_B),
            "logits": torch.from_numpy(self._labels.read(images_B, seeds_B)),
        }
        for name in self._arrays:
            batch[name] = torch.from_numpy(self._reader.read(name, images_B, seeds_B))
        if self._folder is not None:
            batch["pixels"] = self._cut(images_B, seeds_B)
        return {name: value[0] for name, value in batch.items()} if np.ndim(views) == 0 else batch

    def epoch(
        self, number: int, *, batch_size: int, seed: int = 0, policy: Literal["cycle", "random"] = "cycle"
    ) -> "Epoch":
        """The batches of an epoch, from 0: each image once, under a crop seed by the policy (`cycle`: the epoch modulo
        S; `random`: drawn anew), in an order drawn from (seed, number). An incomplete last batch is dropped."""
        sampler = Sampler(
            policy=policy, num_images=len(self.images_M), num_seeds=self.num_seeds, num_epochs=number + 1, seed=seed
        )
        order_M = epoch_order(sampler, number, min(batch_size, len(self.images_M)))
        views_M = order_M * self.num_seeds + sampler.epoch(number).seeds_M[order_M]
        return Epoch(self, views_M.reshape(-1, min(batch_size, len(self.images_M))))

    def _cut(self, images_B: npt.NDArray[np.int64], seeds_B: npt.NDArray[np.int64]) -> Tensor:
        if self._pixels is None:
            assert self._folder is not None, "asked for where there is a folder"
            decoder, reader = kept_decoder(self._decoder_name, "cpu"), self._reader
            self._pixels = Pixels(decoder, self._folder, reader.images, StoredWindows(reader))
        return self._pixels(images_B, seeds_B, self.size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # each process has its own decoder


class Epoch:
    """The batches of an epoch: iterate over it, or have workers bring them."""

    def __init__(self, views: StoreViews, views_KB: npt.NDArray[np.int64]) -> None:
        self._views, self.views_KB = views, views_KB

    def __len__(self) -> int:
        return len(self.views_KB)

    def __iter__(self) -> Iterator[Batch]:
        return (self._views[views_B] for views_B in self.views_KB)

    def loader(self, *, num_workers: int, **options: Any) -> "DataLoader[Batch]":
        """The same batches from the workers of a DataLoader; further options are its own."""
        return DataLoader(self._views, batch_size=None, sampler=list(self.views_KB), num_workers=num_workers, **options)
