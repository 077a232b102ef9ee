"""`fdbpl bench decode`: crops a second from JPEG files, by our decoders and by Pillow in a DataLoader's workers.

Every way cuts the same windows of the same files to the same size. With K crops of an image, ours decode once
(`once`), or, to show what that saves, once for each crop (`each`), as a data set of single views does.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fdbpl.cache_layout.crops import CropPolicy, crop_boxes
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.turns import take_turns
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.loading.decoder import make_decoder
from fdbpl.pipeline.loading.threads import in_threads
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed

SIDE = 224
_EPOCHS = 100_000
# CLIP's normalisation.
_MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(3, 1, 1)
_STD = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)
# Views of a DataLoader's batch.
BATCH = 16
# What our ways are compared with: a data set of single views, decoded by Pillow in worker processes, which make them
# float and normalise them too, as the field's code does. Ours stay uint8 until they are on the device.
PUBLIC = "pillow in a DataLoader"
# The same without that.
PLAIN = "pillow in a DataLoader, uint8"


@dataclass(frozen=True, kw_only=True)
class DecodeParameters:
    """What is measured.

    Attributes:
        backends: of our decoders.
        sizes: (width, height) of the images.
        crops: K, crops of an image.
        device: auto, cpu or cuda: where our decoders deliver to, and DALI decodes.
        workers: threads of our decoders, and worker processes of the DataLoader.
        num_images: files of each size.
        seconds, num_rounds: of each way.
    """

    backends: tuple[str, ...] = ("torchvision", "dali", "pillow")
    sizes: tuple[tuple[int, int], ...] = ((500, 375), (2000, 1500))
    crops: tuple[int, ...] = (1, 16)
    device: str = "auto"
    workers: int = field(default_factory=torch.get_num_threads)
    num_images: int = 32
    seconds: float = 2.0
    num_rounds: int = 3


@dataclass(frozen=True)
class _Views:
    """Files, and for each view its file, window and mirror."""

    paths: list[Path]
    image_B: np.ndarray
    boxes_B4: np.ndarray
    flips_B: np.ndarray

    def each_alone(self) -> "_Views":
        """The same views, each with a file of its own to decode."""
        paths = [self.paths[image] for image in self.image_B.tolist()]
        return _Views(paths, np.arange(len(paths)), self.boxes_B4, self.flips_B)


def bench_decode(parameters: DecodeParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure every backend on every workload; test images are put into `folder`.

    Returns:
        machine, parameters, results: a list of {backend, workload, image_size, workers, crops_per_image, crops_per_s,
        ratio_to_pillow}.

    Raises:
        ValueError: a backend that is not there.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(parameters.workers)
    try:
        results = [one for size in parameters.sizes for one in _bench_size(parameters, size, folder, ui)]
    finally:
        torch.set_num_threads(before)
    versions = installed(("torch", "torchvision", "pillow", "nvidia-dali-cuda130"))
    return {
        "machine": machine(versions, folder, choose_device(parameters.device)),
        "parameters": asdict(parameters),
        "results": results,
    }


def _bench_size(parameters: DecodeParameters, size: tuple[int, int], folder: Path, ui: Ui) -> Iterator[dict[str, Any]]:
    paths = make_images(folder / f"{size[0]}x{size[1]}", size, parameters.num_images)
    for num_crops in parameters.crops:
        views = _views(paths, size, num_crops)
        with ExitStack() as stack:
            loaders = {
                f"{name}: each": _Loader(_SingleViews(views, is_public=name == PUBLIC), parameters.workers, stack)
                for name in (PUBLIC, PLAIN)
            }
            ways = {name: loader.take for name, loader in loaders.items()} | _ways(parameters, views, num_crops)
            title = f"{size[0]}x{size[1]}, {num_crops} crops"
            with ui.bar(title, "turns") as on_progress:
                rates = take_turns(
                    ways,
                    seconds=parameters.seconds,
                    num_rounds=parameters.num_rounds,
                    on_progress=on_progress,
                    before={name: loader.drain for name, loader in loaders.items()},
                )
        for name in ways:
            backend, _, workload = name.partition(": ")
            yield {
                "backend": backend,
                "workload": workload,
                "image_size": f"{size[0]}x{size[1]}",
                "workers": parameters.workers,
                "crops_per_image": num_crops,
                "crops_per_s": round(rates.rate(name), 1),
                "ratio_to_pillow": round(rates.ratio(name, f"{PUBLIC}: each"), 2),
            }


def _ways(parameters: DecodeParameters, views: _Views, num_crops: int) -> dict[str, Callable[[], int]]:
    ways: dict[str, Callable[[], int]] = {}
    for backend in parameters.backends:
        decoder = make_decoder(backend, choose_device(parameters.device))
        cut = _cutter(decoder, views)
        ways[f"{backend}: once"] = cut
        if num_crops > 1:
            ways[f"{backend}: each"] = _cutter(decoder, views.each_alone())
    return ways


def _cutter(decoder: Any, views: _Views) -> Callable[[], int]:
    def cut() -> int:
        return len(decoder.windows(views.paths, views.image_B, views.boxes_B4, views.flips_B, SIDE))

    return cut


class _SingleViews(Dataset[torch.Tensor]):
    """A view a time, decoded by Pillow, as data sets of the field do it; over and over, since the end of an epoch would
    cost a loader of so few images more than one of many."""

    def __init__(self, views: _Views, *, is_public: bool) -> None:
        self._views, self._is_public = views, is_public

    def __len__(self) -> int:
        return _EPOCHS * len(self._views.image_B)

    def __getitem__(self, number: int) -> torch.Tensor:
        views, view = self._views, number % len(self._views.image_B)
        top, left, height, width = views.boxes_B4[view].tolist()
        with Image.open(views.paths[views.image_B[view]]) as image:
            window = image.convert("RGB").crop((left, top, left + width, top + height))
        window = window.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        if views.flips_B[view]:
            window = window.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(window)).permute(2, 0, 1)
        return (pixels.contiguous().float().div(255) - _MEAN) / _STD if self._is_public else pixels


class _Loader:
    """Batches of a DataLoader that runs on from call to call; its workers end with the stack."""

    def __init__(self, views: _SingleViews, workers: int, stack: ExitStack) -> None:
        self._ahead = 2 * workers
        loader = DataLoader(views, batch_size=BATCH, num_workers=workers, prefetch_factor=2, persistent_workers=True)

        def for_ever() -> Generator[torch.Tensor, None, None]:
            while True:
                yield from loader

        self._batches = for_ever()
        stack.callback(self._batches.close)

    def take(self) -> int:
        return len(next(self._batches))

    def drain(self) -> None:
        """Take what the workers have made while others had their turn."""
        for _ in range(self._ahead):
            self.take()


def size_of(text: str) -> tuple[int, int]:
    """ "500x375" as (500, 375). Raises ValueError."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"--sizes: found {text!r}, expected WIDTHxHEIGHT such as 500x375")
    return int(width), int(height)


def make_images(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """JPEG files of smooth noise, with some grain as a camera's: written once.

    Args:
        size: (width, height).
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    width, height = size

    def write(number: int) -> None:
        path, random = paths[number], np.random.default_rng(number)
        if not path.exists():
            coarse = Image.fromarray(random.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
            grain = random.integers(-6, 7, (height, width, 1), dtype=np.int16)
            Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(path, quality=90)

    in_threads(write, range(count))
    return paths


def _views(paths: Sequence[Path], size: tuple[int, int], num_crops: int) -> _Views:
    """K random crops of each image, by the policy of the teacher pass."""
    image_B = np.repeat(np.arange(len(paths)), num_crops)
    seeds_B = np.tile(np.arange(num_crops), len(paths))
    sizes_B2 = np.tile((size[1], size[0]), (len(image_B), 1))
    names = [paths[image].name for image in image_B.tolist()]
    boxes_B4, flips_B = crop_boxes(CropPolicy(size=SIDE), names, sizes_B2, seeds_B)
    return _Views(list(paths), image_B, boxes_B4, flips_B)
