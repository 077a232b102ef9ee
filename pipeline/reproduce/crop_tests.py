"""Random crops of the world's test images, of which it is known whether they show the object: how well prompts reject
those that do not.

The crops are those of the run's policy, two of each base image, under seeds that no training has. A student's features
of them are kept in the run's folder. Letters: V crops, D embedding, C classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fdbpl.cache_layout.crops import crop_boxes
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.few_shot import base_and_new
from fdbpl.pipeline.datasets.scene_facts import crop_content, read_scenes
from fdbpl.pipeline.device import decoder_name
from fdbpl.pipeline.evaluation.rejection import rejection, scores
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.loading.decoder import kept_decoder
from fdbpl.pipeline.reproduce.crop_record import SEEDS, crop_file, crop_identity, has_crop_features
from fdbpl.pipeline.values import Views
from fdbpl.pipeline.whole_file import replace_file

_BATCH = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class CropFeatures:
    """Unit features [V, D] float32 of crops, and whether each shows the main object, bool [V]."""

    features_VD: Tensor
    shows_V: Tensor


def write_crop_features(config: RunConfig, model: ModelConfig) -> int:
    """Cut and encode the crops, where that is not done; their number."""
    if has_crop_features(config, model):
        return 0
    data = load_data(config.data)
    base, _ = base_and_new(len(data.class_names))
    paths = [path for path, label in zip(data.test.paths, data.test.labels, strict=True) if label in base]
    scenes = read_scenes(config.data.folder / "scenes.json")
    views = [(path, seed) for path in paths for seed in SEEDS]
    sizes_V2 = np.array([(scenes[path].height, scenes[path].width) for path, _ in views])
    backbone = load_backbone(model)
    policy = config.crops.policy(backbone.image_size)
    boxes_V4, flips_V = crop_boxes(policy, [path for path, _ in views], sizes_V2, [seed for _, seed in views])
    shows = [
        crop_content(scenes[path], box).kind == "main" for (path, _), box in zip(views, boxes_V4.tolist(), strict=True)
    ]
    decoder = kept_decoder(decoder_name(config), "cpu")
    parts = []
    for start in range(0, len(views), _BATCH):
        part = slice(start, start + _BATCH)
        files = [image_root(config) / path for path, _ in views[part]]
        pixels = decoder.windows(files, np.arange(len(files)), boxes_V4[part], flips_V[part], backbone.image_size)
        parts.append(backbone.encode_pixels(pixels).cpu())
    content = save(
        {"features": torch.cat(parts), "shows": torch.tensor(shows)}, metadata={"fdbpl": crop_identity(config, model)}
    )
    replace_file(crop_file(config, model), content)
    return len(views)


def read_crop_features(config: RunConfig, model: ModelConfig) -> CropFeatures:
    """Raises ValueError where they are missing or stale."""
    path = crop_file(config, model)
    if not has_crop_features(config, model):
        raise ValueError(f"found no features of crops at {path}, expected those of {model.model}")
    with safe_open(path, framework="pt") as file:
        return CropFeatures(features_VD=file.get_tensor("features"), shows_V=file.get_tensor("shows"))


@torch.no_grad()
def crop_rejection(learner: Learner, crops: CropFeatures) -> dict[str, dict[str, float]]:
    """How well each score tells crops that show the object from those that do not, among the learner's own classes:
    score -> AUROC and FPR95 in percent."""
    ids_V = torch.arange(len(crops.features_VD))
    views = Views(image_ids_B=ids_V, seeds_B=ids_V, labels_B=ids_V, features_BD=crops.features_VD)
    prediction = learner.predict(views, learner.texts(learner.class_names))
    found = scores(prediction.logits_BC, prediction.margins())
    shows_V = crops.shows_V.numpy()
    return {name: rejection(values[shows_V], values[~shows_V]) for name, values in found.items()}
