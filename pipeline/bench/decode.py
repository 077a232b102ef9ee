"""`fdbpl bench decode`: crops a second from JPEG files, by our decoders, SPDL, and Pillow in a DataLoader's workers.

Every way cuts the same windows of the same files to the same size. With K crops of an image, a file is decoded once for
all of them (`once`), or, to show what that saves, once for each (`each`), as a data set of single views does.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fdbpl.pipeline.bench.decode_peers.all_peers import make_decode_peers
from fdbpl.pipeline.bench.decode_peers.dataloader import PUBLIC
from fdbpl.pipeline.bench.decode_peers.peer import DecodePeer, Way
from fdbpl.pipeline.bench.decode_peers.views import Views, from_pillow, random_views
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.turns import take_turns
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.loading.threads import in_threads
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed

BACKENDS = ("torchvision", "dali", "pillow", "spdl")


@dataclass(frozen=True, kw_only=True)
class DecodeParameters:
    """What is measured.

    Attributes:
        backends: our decoders, and spdl.
        sizes: (width, height) of the images.
        crops: K, crops of an image.
        device: auto, cpu or cuda: where our decoders deliver to, and DALI decodes.
        workers: threads of our decoders and of SPDL, and worker processes of the DataLoader.
        num_images: files of each size.
        seconds, num_rounds: of each way.
    """

    backends: tuple[str, ...] = BACKENDS
    sizes: tuple[tuple[int, int], ...] = ((500, 375), (2000, 1500))
    crops: tuple[int, ...] = (1, 16)
    device: str = "auto"
    workers: int = field(default_factory=torch.get_num_threads)
    num_images: int = 32
    seconds: float = 2.0
    num_rounds: int = 3


@dataclass(frozen=True)
class _Workload:
    size: tuple[int, int]
    num_crops: int
    views: Views

    @property
    def image_size(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


def bench_decode(parameters: DecodeParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure every backend on every workload; test images are put into `folder`.

    Returns:
        machine, parameters, results: a list of {backend, workload, image_size, workers, crops_per_image, crops_per_s,
        ratio_to_pillow}, skipped: a list of {backend, reason, install}, notes: how others' libraries were used, and how
        far their pixels are from Pillow's.

    Raises:
        ValueError: a backend that nobody has, or one of ours that is not installed.
    """
    device = choose_device(parameters.device)
    peers, skipped = make_decode_peers(parameters.backends, device, parameters.workers)
    results: list[dict[str, Any]] = []
    notes: list[str] = []
    before = torch.get_num_threads()
    torch.set_num_threads(parameters.workers)
    try:
        for workload in _workloads(parameters, folder):
            with ExitStack() as stack:
                ways = _ways(peers, workload.views, stack)
                notes += _notes(ways, workload)
                results += _rows(parameters, workload, ways, ui)
    finally:
        torch.set_num_threads(before)
    versions = installed(("torch", "torchvision", "pillow", "nvidia-dali-cuda130", "spdl-io"))
    return {
        "machine": machine(versions, folder, device),
        "parameters": asdict(parameters),
        "results": results,
        "skipped": skipped,
        "notes": notes,
    }


def _workloads(parameters: DecodeParameters, folder: Path) -> Iterator[_Workload]:
    for size in parameters.sizes:
        paths = make_images(folder / f"{size[0]}x{size[1]}", size, parameters.num_images)
        for num_crops in parameters.crops:
            yield _Workload(size, num_crops, random_views(paths, size, num_crops))


def _ways(peers: Sequence[DecodePeer], views: Views, stack: ExitStack) -> dict[tuple[str, str], Way]:
    return {(peer.name, way.workload): way for peer in peers for way in peer.ways(views, stack)}


def _notes(ways: dict[tuple[str, str], Way], workload: _Workload) -> Iterator[str]:
    for (backend, kind), way in ways.items():
        if way.crops is not None:
            mean, largest = from_pillow(way.crops(), workload.views)
            yield (
                f"{backend}, {kind}, {workload.num_crops} crops of {workload.image_size}: {way.setting}; "
                f"its pixels are {mean:.2f} of 255 levels from Pillow's on average, {largest} at most"
            )


def _rows(
    parameters: DecodeParameters, workload: _Workload, ways: dict[tuple[str, str], Way], ui: Ui
) -> Iterator[dict[str, Any]]:
    names = {f"{backend}: {kind}": (backend, kind) for backend, kind in ways}
    with ui.bar(f"{workload.image_size}, {workload.num_crops} crops", "turns") as on_progress:
        rates = take_turns(
            {name: ways[key].take for name, key in names.items()},
            seconds=parameters.seconds,
            num_rounds=parameters.num_rounds,
            on_progress=on_progress,
            before={name: ways[key].before for name, key in names.items()},
            after={name: ways[key].after for name, key in names.items()},
        )
    public = next(name for name, (backend, _) in names.items() if backend == PUBLIC)
    for name, (backend, kind) in names.items():
        yield {
            "backend": backend,
            "workload": kind,
            "image_size": workload.image_size,
            "workers": parameters.workers,
            "crops_per_image": workload.num_crops,
            "crops_per_s": round(rates.rate(name), 1),
            "ratio_to_pillow": round(rates.ratio(name, public), 2),
        }


def size_of(text: str) -> tuple[int, int]:
    """ "500x375" as (500, 375). Raises ValueError."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"found the size {text!r}, expected WIDTHxHEIGHT such as 500x375")
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
