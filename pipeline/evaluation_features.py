"""Features of the test images under one model, computed once and kept: evaluating another prompt then costs one
matrix product."""

from collections.abc import Callable

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data import load_data
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import choose_device, decoder_name
from fdbpl.pipeline.evaluation_record import features_identity, has_test_features, test_models
from fdbpl.pipeline.loading.decoder import UnreadableImage, make_decoder
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.teach import image_root
from fdbpl.pipeline.weights import model_key
from fdbpl.pipeline.whole_file import replace_file


def write_test_features(config: RunConfig, key: str, on_progress: Callable[[int, int], None]) -> int:
    """Encode all test images by the test transform and keep the features; the number of images.

    Raises:
        UnreadableImage: an image that cannot be read, by path and index.
    """
    data = load_data(config.data)
    model = test_models(config)[key]
    if read_test_features(config, data, model, missing_ok=True) is not None:
        return 0
    device = choose_device(config.loading.device)
    backbone = load_backbone(model, device)
    decoder = make_decoder(decoder_name(config), device=device)
    files = [image_root(config) / path for path in data.test.paths]
    parts: list[Tensor] = []
    for start in range(0, len(files), config.loading.batch_size):
        try:
            pixels = decoder.center(files[start : start + config.loading.batch_size], backbone.image_size)
        except UnreadableImage as error:
            raise UnreadableImage(start + error.index, error.path, error.reason) from error
        parts.append(backbone.encode_pixels(pixels).cpu())
        on_progress(min(start + config.loading.batch_size, len(files)), len(files))
    content = save({"features": torch.cat(parts)}, metadata={"fdbpl": features_identity(config, data, model)})
    replace_file(RunFolder(config.folder).test_features(key), content)
    return len(files)


def read_test_features(
    config: RunConfig, data: DataSet, model: ModelConfig, *, missing_ok: bool = False
) -> Tensor | None:
    """Unit features [N, D] float32 of the test split; None where they are missing or stale and that is allowed.

    Raises:
        ValueError: they are missing or stale.
    """
    path = RunFolder(config.folder).test_features(model_key(model))
    if has_test_features(config, data, model):
        with safe_open(path, framework="pt") as file:
            features: Tensor = file.get_tensor("features")
            return features
    if missing_ok:
        return None
    raise ValueError(f"found no test features of {model.model} at {path}, expected them: run `fdbpl evaluate`")
