"""`fdbpl bench agreement`: how far each decoder's crops are from Pillow's, in grey levels and in a CLIP's features.

The same windows of the same varied JPEG files are cut by every backend. To show that the comparison would notice a
wrong window, Pillow's own windows are shifted by one pixel and compared too. Letters: B crops, D embedding.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.varied_images import VariedImages, make_varied_images
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone, random_checkpoint
from fdbpl.pipeline.config import ModelConfig
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.loading.decoder import LARGEST_DIFFERENCE, MEAN_DIFFERENCE, Decoder, make_decoder
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.versions import installed

# 1 - cosine of a crop's features.
MAX_FEATURE = 2e-5
SHIFTED = "pillow, shifted by 1 pixel"
# Images decoded at once: bounds the memory.
_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class AgreementParameters:
    """What is compared.

    Attributes:
        backends: beside Pillow.
        device: auto, cpu or cuda: where decoders deliver to, and DALI decodes.
        num_images, num_windows: files, and windows of each.
        model, pretrained: of the features, and of the crops' size; without `pretrained` the weights are random.
    """

    backends: tuple[str, ...] = ("torchvision", "dali")
    device: str = "auto"
    num_images: int = 500
    num_windows: int = 8
    model: str = "ViT-S-32-alt"
    pretrained: str = ""


def bench_agreement(parameters: AgreementParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Compare; images are put into `folder`.

    Returns:
        machine, parameters, results: a list of {backend, device, crops, mean_difference, largest_mean_difference,
        largest_difference, largest_feature_difference, agrees}: the mean over all, the largest mean of a crop, the
        largest of a pixel, the largest 1 - cosine.

    Raises:
        ValueError: a backend that is not there, an unknown device or model.
    """
    device = choose_device(parameters.device)
    pretrained = parameters.pretrained or str(random_checkpoint(parameters.model, folder / "random.safetensors"))
    backbone = load_backbone(ModelConfig(model=parameters.model, pretrained=pretrained), device)
    images = make_varied_images(folder / "varied", parameters.num_images, parameters.num_windows)
    pillow = make_decoder("pillow")
    decoders = {name: make_decoder(name, device) for name in parameters.backends}
    found = {name: _Differences() for name in (*decoders, SHIFTED)}
    with ui.bar("compare", "images") as on_progress:
        for part in _parts(images):
            expected = _Crops(pillow, part, backbone)
            for name, decoder in decoders.items():
                found[name].add(_Crops(decoder, part, backbone), expected)
            found[SHIFTED].add(_Crops(pillow, part, backbone, shift=1), expected)
            on_progress(found[SHIFTED].num_images, len(images.paths))
    versions = installed(("torch", "torchvision", "pillow", "nvidia-dali-cuda130"))
    return {
        "machine": machine(versions, folder, device),
        "parameters": asdict(parameters),
        "results": [
            {"backend": name, "device": "cpu" if name == SHIFTED else device, **differences.summary()}
            for name, differences in found.items()
        ],
    }


def _parts(images: VariedImages) -> Iterator[VariedImages]:
    for start in range(0, len(images.paths), _AT_ONCE):
        yield images.part(range(start, min(start + _AT_ONCE, len(images.paths))))


class _Crops:
    """One decoder's crops of some images: pixels uint8 [B, 3, size, size] and features [B, D]."""

    def __init__(self, decoder: Decoder, images: VariedImages, model: Backbone, shift: int = 0) -> None:
        boxes_B4 = images.boxes_B4 + np.array([0, shift, 0, 0], dtype=np.int32)
        pixels_BCHW = decoder.windows(images.paths, images.image_B, boxes_B4, images.flips_B, model.image_size)
        self.num_images = len(images.paths)
        self.pixels_BCHW = pixels_BCHW.cpu()
        self.features_BD: Tensor = model.encode_pixels(pixels_BCHW).cpu()


class _Differences:
    """What was found of one decoder so far, a number for each crop."""

    def __init__(self) -> None:
        self.num_images = 0
        self._parts: list[np.ndarray] = []

    def add(self, found: _Crops, expected: _Crops) -> None:
        difference = (found.pixels_BCHW.int() - expected.pixels_BCHW.int()).abs().flatten(1)
        cosines_B = (found.features_BD.double() * expected.features_BD.double()).sum(dim=1)
        norms_B = found.features_BD.double().norm(dim=1) * expected.features_BD.double().norm(dim=1)
        numbers = difference.float().mean(dim=1), difference.amax(dim=1), 1 - cosines_B / norms_B
        self._parts.append(torch.stack([one.double() for one in numbers]).numpy())
        self.num_images += expected.num_images

    def summary(self) -> dict[str, Any]:
        mean_B, largest_B, feature_B = np.concatenate(self._parts, axis=1)
        is_near = mean_B.max() < MEAN_DIFFERENCE and largest_B.max() <= LARGEST_DIFFERENCE
        return {
            "crops": len(mean_B),
            "mean_difference": round(float(mean_B.mean()), 4),
            "largest_mean_difference": round(float(mean_B.max()), 4),
            "largest_difference": int(largest_B.max()),
            "largest_feature_difference": float(f"{feature_B.max():.3g}"),
            "agrees": bool(is_near and feature_B.max() < MAX_FEATURE),
        }
