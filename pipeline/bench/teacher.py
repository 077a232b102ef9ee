"""`fdbpl bench teacher`: the teacher pass, from JPEG files to a sealed store, beside the forward pass alone.

The forward pass has its images in memory already, in batches of the same size: no pass can be faster. The weights are
random ones of the named model, since speed does not depend on them.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.bench.decode import make_images
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.peak_memory import growth_bytes
from fdbpl.pipeline.bench.turns import take_turns
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone, random_checkpoint
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.labels.teach import image_root, prepare_store, teach_block
from fdbpl.pipeline.loading.batches import MOST_BATCHES, pixel_batches
from fdbpl.pipeline.loading.decoder import kept_decoder
from fdbpl.pipeline.loading.windows import ComputedWindows, Pixels
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed
from fdbpl.pipeline.whole_file import replace_json

# Threads, imported modules, and files as they are on disk.
_RUNTIME_BYTES = 64 * 2**20
FORWARD, PASS = "forward alone", "teacher pass"
CLASSES = ("cat", "dog", "house", "tree")


@dataclass(frozen=True, kw_only=True)
class TeacherParameters:
    """What is measured.

    Attributes:
        model, precision: of the teacher.
        size: (width, height) of the images.
        num_images, num_seeds, batch_size: of the pass; all of its views are one block.
        device: auto, cpu or cuda.
        decoder: of the pass.
        compile: whether both run the model through torch.compile.
        num_rounds: whole passes, and as many views by the forward pass alone.
    """

    model: str = "ViT-B-32"
    precision: str = "fp32"
    size: tuple[int, int] = (500, 375)
    num_images: int = 32
    num_seeds: int = 16
    batch_size: int = 64
    device: str = "auto"
    decoder: str = "auto"
    compile: bool = False
    num_rounds: int = 3


def bench_teacher(parameters: TeacherParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure both in turns; everything is put into `folder`.

    Returns:
        machine, parameters, results: a list of {name, views_per_s, share_of_forward}; memory: host memory that
        reading, decoding and cutting needed in the first pass, in bytes, and the figure that bounds it.

    Raises:
        ValueError: an unknown model, decoder or device.
    """
    config = bench_config(parameters, folder)
    device = choose_device(parameters.device)
    teacher = load_backbone(config.teacher, device, compiled=parameters.compile)
    num_views = parameters.num_images * parameters.num_seeds
    batch = torch.randint(0, 256, (parameters.batch_size, 3, teacher.image_size, teacher.image_size)).to(torch.uint8)
    batch = batch.to(device)

    def forward() -> int:
        """As many views as the pass has; the last of their features on the CPU, so that all are done."""
        for _ in range(0, num_views, parameters.batch_size):
            features_BD = teacher.encode_pixels(batch)
        features_BD.cpu()
        return num_views

    def whole_pass() -> int:
        run_pass(config)
        return num_views

    def only_pixels() -> None:
        """What the pass does but for the model, whose own memory would hide the rest."""
        store = open_store(config.store.path)
        decoder = kept_decoder(store.manifest.fields["decoder"]["name"], device)
        windows = ComputedWindows(config.crops.policy(teacher.image_size), store.images)
        pixels = Pixels(decoder, image_root(config), store.images, windows)
        for block in store.missing_blocks(CAMPAIGN):
            for _ in pixel_batches(block, parameters.batch_size, lambda views: pixels(*views, teacher.image_size)):
                pass

    def new_store() -> None:
        shutil.rmtree(config.store.path, ignore_errors=True)
        prepare_store(config)

    new_store()
    growth = growth_bytes(only_pixels)
    with ui.bar("measure", "turns") as on_progress:
        rates = take_turns(
            {FORWARD: forward, PASS: whole_pass},
            seconds=0.0,
            num_rounds=parameters.num_rounds,
            on_progress=on_progress,
            before={PASS: new_store},
        )
    results = [
        {
            "name": name,
            "views_per_s": round(rates.rate(name), 1),
            "share_of_forward": round(rates.ratio(name, FORWARD), 3),
        }
        for name in (FORWARD, PASS)
    ]
    packages = ("torch", "torchvision", "open_clip_torch", "nvidia-dali-cuda130")
    return {
        "machine": machine(installed(packages), folder, device),
        "parameters": asdict(parameters),
        "results": results,
        "memory": {"growth_bytes": growth, "bound_bytes": _bound_bytes(parameters, teacher)},
    }


def _bound_bytes(parameters: TeacherParameters, teacher: Backbone) -> int:
    """Batches of pixels, and images that are decoded at a time. The number of crops of an image is not in it."""
    width, height = parameters.size
    pixels = MOST_BATCHES * parameters.batch_size * 3 * teacher.image_size**2
    # Beside an image and its file lies what the resize of a window needs.
    decoded = torch.get_num_threads() * 2 * 3 * width * height
    return pixels + decoded + _RUNTIME_BYTES


def run_pass(config: RunConfig) -> None:
    """The whole teacher pass into a store that is prepared."""
    for block in open_store(config.store.path).missing_blocks(CAMPAIGN):
        teach_block(config, block.id, lambda done, total: None)
    seal(config.store.path, CAMPAIGN)


def bench_config(parameters: TeacherParameters, folder: Path, **sections: Any) -> RunConfig:
    """A run on test images of a few classes, all of whose views are one block; with more sections of a config."""
    paths = make_images(folder / "data" / "images", parameters.size, parameters.num_images)
    entries = [[path.name, number % len(CLASSES), CLASSES[number % len(CLASSES)]] for number, path in enumerate(paths)]
    replace_json(folder / "data" / "split.json", {"train": entries, "val": [], "test": entries})
    values = {
        "folder": "run",
        "data": {"name": "bench", "folder": "data", "split": "split.json"},
        "teacher": {
            "model": parameters.model,
            "pretrained": str(random_checkpoint(parameters.model, folder / "teacher.safetensors")),
            "precision": parameters.precision,
        },
        "crops": {"seeds": parameters.num_seeds},
        "store": {
            "images_per_block": parameters.num_images,
            "seeds_per_block": parameters.num_seeds,
            "labels": ["embedding"],
        },
        "loading": {
            "device": parameters.device,
            "decoder": parameters.decoder,
            "batch_size": parameters.batch_size,
            "compile": parameters.compile,
        },
        "cluster": {"kind": "local"},
        **sections,
    }
    return parse_config(values, base=folder, where="bench teacher")
