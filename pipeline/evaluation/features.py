"""Features of the test images under one model, computed once and kept: evaluating another prompt then costs one
matrix product.

Test images are scanned before, so that every model is measured on the same ones: files that cannot be read are an error
or are left out, as the config says.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.scan_run import scan_run
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import choose_device, decoder_name
from fdbpl.pipeline.evaluation.record import TestPass, features_identity, has_test_features, test_passes
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.loading.batches import DEPTH, made_ahead
from fdbpl.pipeline.loading.decoder import UnreadableImage, UnreadableImages, kept_decoder
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.whole_file import replace_file


@dataclass(frozen=True, kw_only=True)
class SplitFeatures:
    """Unit features [N, D] float32 of the test images at the positions images_N, int64, of the split."""

    features_ND: Tensor
    images_N: Tensor


def write_test_features(config: RunConfig, key: str, on_progress: Callable[[int, int], None]) -> int:
    """Encode all test images of a pass by the test transform and keep the features; the number of images.

    Raises:
        UnreadableImages: images that cannot be read, by path and index, where the config does not exclude them; or
            where it does, and none can be read.
    """
    one = test_passes(config)[key]
    data = one.load_data()
    if has_test_features(one, data):
        return 0
    images = scan_run(one.config, data.test.paths, data.test.labels)
    left_out = {path for path, _ in images.excluded}
    positions = [position for position, path in enumerate(data.test.paths) if path not in left_out]
    features_ND = _encode(one, data, positions, on_progress)
    content = save(
        {"features": features_ND, "images": torch.tensor(positions)},
        metadata={
            "fdbpl": features_identity(one, data),
            "excluded": json.dumps([list(pair) for pair in images.excluded]),
        },
    )
    replace_file(RunFolder(config.folder).test_features(key), content)
    return len(positions)


def read_test_features(one: TestPass, data: DataSet) -> SplitFeatures:
    """Features of a pass.

    Raises:
        ValueError: they are missing or stale.
    """
    path = RunFolder(one.config.folder).test_features(one.key)
    if not has_test_features(one, data):
        raise ValueError(f"found no test features of {one.model.model} at {path}, expected them: run `fdbpl evaluate`")
    with safe_open(path, framework="pt") as file:
        features_ND = file.get_tensor("features")
        # Files of before there were exclusions hold all.
        images_N = file.get_tensor("images") if "images" in file.keys() else torch.arange(len(features_ND))  # noqa: SIM118 - it is no dict
        return SplitFeatures(features_ND=features_ND, images_N=images_N)


def test_pixels(config: RunConfig, data: DataSet, positions: Sequence[int], size: int) -> Iterator[Tensor]:
    """Pixels uint8 [B, 3, size, size] of the test images at some positions of the split, in order and batch by batch,
    by the test transform: resized, and cut at the centre. `config.data` is the data set's.

    Raises:
        UnreadableImages: by their positions.
    """
    decoder = kept_decoder(decoder_name(config), choose_device(config.loading.device))

    def cut(chosen: Sequence[int]) -> Tensor:
        files = [image_root(config) / data.test.paths[position] for position in chosen]
        try:
            return decoder.center(files, size)
        except UnreadableImages as error:
            # The decoder counts within its call, people within the split.
            bad = [UnreadableImage(chosen[one.index], one.path, one.reason) for one in error.images]
            raise UnreadableImages(bad, error.num_images) from error

    batch = config.loading.batch_size
    return made_ahead((positions[start : start + batch] for start in range(0, len(positions), batch)), cut, DEPTH)


def _encode(one: TestPass, data: DataSet, positions: Sequence[int], on_progress: Callable[[int, int], None]) -> Tensor:
    """Features [N, D] of the test images at some positions of the split."""
    backbone = load_backbone(one.model, choose_device(one.config.loading.device))
    parts: list[Tensor] = []
    for pixels in test_pixels(one.config, data, positions, backbone.image_size):
        parts.append(backbone.encode_pixels(pixels).cpu())
        on_progress(sum(map(len, parts)), len(positions))
    return torch.cat(parts)
