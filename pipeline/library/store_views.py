"""A store as a torch data set, for training loops of your own: views with the teacher's labels, and the very pixels
that the teacher saw.

A view is a pair (image, crop seed). What is drawn in an epoch follows from (seed, epoch) alone, by the policies that
fdbpl's own students use, so a loop that was stopped goes on where it was. Batches are read by one call for each array,
those that a DataLoader's own sampler draws too, for a read of a single view costs nearly what a batch does.
Letters: B views of a batch, N images, S seeds, M chosen images, C classes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import WEIGHING, ViewPolicy
from fdbpl.pipeline.labels.manifest import CLASS_LIST
from fdbpl.pipeline.labels.stored import stored_labels
from fdbpl.pipeline.loading.decoder import kept_decoder
from fdbpl.pipeline.loading.windows import Pixels, StoredWindows
from fdbpl.pipeline.training.sampling import Sampler, epoch_order
from fdbpl.pipeline.training.view_weights import view_weights

Batch = dict[str, Tensor]


class StoreViews(Dataset[Batch]):
    """The views of a store. Picklable: workers of a DataLoader open it for themselves, forked or spawned.

    Args:
        store: path of a sealed store.
        class_names: C classes that labels are over; None: all that the teacher was asked for.
        images: M image numbers of the store that are used, see `paths`; None: all.
        arrays: names of further arrays of the store: "teacher/embedding", "crop/box" (top, left, height, width),
            "crop/flip", a student's features.
        folder: the images' folder, for `pixels`; None: no image is read.
        size: side of the pixels; None: as the teacher saw them.
        decoder: pillow, torchvision or dali; None: the one that cut the teacher's crops.

    Raises:
        CacheError: no store, one that is not sealed, or one without these arrays, or labels over these classes.
        ValueError: no images, or numbers that the store has not; a decoder that is not installed.
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
        if not len(self.images_M):
            raise ValueError("found no images, expected at least one, or None for all")
        wrong = self.images_M[(self.images_M < 0) | (self.images_M >= self._reader.num_images)]
        if len(wrong):
            raise ValueError(f"found the image {wrong[0]}, expected numbers from 0 to {self._reader.num_images - 1}")
        for name in arrays:
            self._reader.dtype(name)  # refused here, not in a worker
        self._arrays, self._folder = tuple(arrays), None if folder is None else Path(folder)
        fields = self._reader.manifest.fields
        self.size = int(fields["crops"]["size"]) if size is None else size
        self._decoder_name = str(fields["decoder"]["name"]) if decoder is None else decoder
        self._pixels: Pixels | None = None
        self._weights_MS: npt.NDArray[np.float32] | None = None
        if self._folder is not None:
            kept_decoder(self._decoder_name, "cpu")

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

    def __getitems__(self, views: Sequence[int]) -> list[Batch]:
        """The items of many numbers, read together: what a DataLoader with a `batch_size` asks for, and then stacks."""
        batch = self[views]
        parts = zip(*(value.unbind() for value in batch.values()), strict=True)
        return [dict(zip(batch, part, strict=True)) for part in parts]

    def epoch(
        self,
        number: int,
        *,
        batch_size: int,
        seed: int = 0,
        policy: ViewPolicy = "cycle",
        num_epochs: int | None = None,
    ) -> "Epoch":
        """The batches of an epoch: each image once, under a crop seed by the policy, in an order drawn from
        (seed, number). An incomplete last batch is dropped.

        Args:
            number: of the epoch, from 0.
            policy: `cycle`, the epoch modulo S; `random`; `informative`, rather those of which the teacher can tell
                much; `curriculum`, from informative ones to any.
            num_epochs: epochs of the whole training, by which `curriculum` goes.

        Raises:
            ValueError: a batch size below 1, an unknown policy, or `curriculum` without `num_epochs`.
        """
        if batch_size < 1:
            raise ValueError(f"found batch_size = {batch_size}, expected 1 or more")
        if policy not in get_args(ViewPolicy):
            raise ValueError(f"found the policy {policy!r}, expected one of {', '.join(get_args(ViewPolicy))}")
        if policy == "curriculum" and num_epochs is None:
            raise ValueError("found the policy 'curriculum' without num_epochs, expected the epochs of the training")
        sampler = Sampler(
            policy=policy,
            num_images=len(self.images_M),
            num_seeds=self.num_seeds,
            num_epochs=number + 1 if num_epochs is None else num_epochs,
            seed=seed,
            weights_MS=self._weights() if policy in WEIGHING else None,
        )
        order_M = epoch_order(sampler, number, min(batch_size, len(self.images_M)))
        views_M = order_M * self.num_seeds + sampler.epoch(number).seeds_M[order_M]
        return Epoch(self, views_M.reshape(-1, min(batch_size, len(self.images_M))))

    def _weights(self) -> npt.NDArray[np.float32]:
        """The teacher's of each crop, [M, S]: a pass over its labels, once."""
        if self._weights_MS is None:
            self._weights_MS = view_weights(self._labels, self.images_M, self.num_seeds)
        return self._weights_MS

    def _cut(self, images_B: npt.NDArray[np.int64], seeds_B: npt.NDArray[np.int64]) -> Tensor:
        if self._pixels is None:
            assert self._folder is not None, "asked for where there is a folder"
            decoder, reader = kept_decoder(self._decoder_name, "cpu"), self._reader
            self._pixels = Pixels(decoder, self._folder, reader.images, StoredWindows(reader))
        return self._pixels(images_B, seeds_B, self.size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None, "_weights_MS": None}  # each process has its own decoder; none draws


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
