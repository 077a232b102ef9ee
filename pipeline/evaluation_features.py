"""Features of the test images under one model, computed once and kept: evaluating another prompt then costs one
matrix product.

Test images are scanned before, so that every model is measured on the same ones: files that cannot be read are an error
or are left out, as the config says.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fdbpl.pipeline.batches import DEPTH, made_ahead
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data import load_data
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import choose_device, decoder_name
from fdbpl.pipeline.evaluation_record import features_identity, has_test_features, test_models
from fdbpl.pipeline.loading.decoder import UnreadableImage, UnreadableImages, kept_decoder
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.scan_run import scan_run
from fdbpl.pipeline.teach import image_root
from fdbpl.pipeline.weights import model_key
from fdbpl.pipeline.whole_file import replace_file


@dataclass(frozen=True, kw_only=True)
class SplitFeatures:
    """Unit features [N, D] float32 of the test images at the positions images_N, int64, of the split."""

    features_ND: Tensor
    images_N: Tensor


def write_test_features(config: RunConfig, key: str, on_progress: Callable[[int, int], None]) -> int:
    """Encode all test images by the test transform and keep the features; the number of images.

    Raises:
        UnreadableImages: images that cannot be read, by path and index, where the config does not exclude them; or
            where it does, and none can be read.
    """
    data = load_data(config.data)
    model = test_models(config)[key]
    if read_test_features(config, data, model, missing_ok=True) is not None:
        return 0
    images = scan_run(config, data.test.paths, data.test.labels)
    left_out = {path for path, _ in images.excluded}
    positions = [position for position, path in enumerate(data.test.paths) if path not in left_out]
    features_ND = _encode(config, model, data, positions, on_progress)
    content = save(
        {"features": features_ND, "images": torch.tensor(positions)},
        metadata={
            "fdbpl": features_identity(config, data, model),
            "excluded": json.dumps([list(pair) for pair in images.excluded]),
        },
    )
    replace_file(RunFolder(config.folder).test_features(key), content)
    return len(positions)


def read_test_features(
    config: RunConfig, data: DataSet, model: ModelConfig, *, missing_ok: bool = False
) -> SplitFeatures | None:
    """Features of the test split; None where they are missing or stale and that is allowed.

    Raises:
        ValueError: they are missing or stale.
    """
    path = RunFolder(config.folder).test_features(model_key(model))
    if has_test_features(config, data, model):
        with safe_open(path, framework="pt") as file:
            features_ND = file.get_tensor("features")
            # Files of before there were exclusions hold all.
            images_N = file.get_tensor("images") if "images" in file.keys() else torch.arange(len(features_ND))  # noqa: SIM118 - it is no dict
            return SplitFeatures(features_ND=features_ND, images_N=images_N)
    if missing_ok:
        return None
    raise ValueError(f"found no test features of {model.model} at {path}, expected them: run `fdbpl evaluate`")


def _encode(
    config: RunConfig,
    model: ModelConfig,
    data: DataSet,
    positions: list[int],
    on_progress: Callable[[int, int], None],
) -> Tensor:
    """Features [N, D] of the test images at some positions of the split."""
    device = choose_device(config.loading.device)
    backbone = load_backbone(model, device)
    decoder = kept_decoder(decoder_name(config), device)

    def cut(chosen: list[int]) -> Tensor:
        files = [image_root(config) / data.test.paths[position] for position in chosen]
        try:
            return decoder.center(files, backbone.image_size)
        except UnreadableImages as error:
            # The decoder counts within its call, people within the split.
            bad = [UnreadableImage(chosen[one.index], one.path, one.reason) for one in error.images]
            raise UnreadableImages(bad, error.num_images) from error

    size = config.loading.batch_size
    batches = [positions[start : start + size] for start in range(0, len(positions), size)]
    parts: list[Tensor] = []
    for pixels in made_ahead(batches, cut, DEPTH):
        parts.append(backbone.encode_pixels(pixels).cpu())
        on_progress(sum(map(len, parts)), len(positions))
    return torch.cat(parts)
