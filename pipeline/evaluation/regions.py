"""Whether the teacher's weight tells informative crops from others, on a world that knows what each crop shows."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.kernels.dual_prompt import informative_weight
from fdbpl.pipeline.datasets.scene_facts import crop_content, read_scenes
from fdbpl.pipeline.evaluation.rejection import auc
from fdbpl.pipeline.labels.manifest import CAMPAIGN, CLASS_LIST
from fdbpl.pipeline.labels.stored import stored_labels

KINDS = ("background", "distractor", "main")


def region_weights(store: Path, scenes_file: Path) -> dict[str, Any]:
    """Mean weight w = 1 - H(T)/log C of the crops of each kind, and the AUC of w for 'shows the main object'.

    Returns:
        JSON: for each kind {"views", "mean_weight"}, and "auc".
    """
    with open_reader(store, campaigns=(CAMPAIGN,)) as reader:
        weights_V, kinds_V = _all_views(reader, scenes_file)
    result: dict[str, Any] = {
        kind: {
            "views": int((kinds_V == kind).sum()),
            "mean_weight": round(float(weights_V[kinds_V == kind].mean()), 4) if kind in kinds_V else None,
        }
        for kind in KINDS
    }
    value = auc(weights_V[kinds_V == "main"], weights_V[kinds_V != "main"])
    result["auc"] = None if value is None else round(value, 4)
    return result


def _all_views(reader: Reader, scenes_file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Weight and kind of every view of the store, seed by seed."""
    scenes = read_scenes(scenes_file)
    labels = stored_labels(reader, reader.class_list(CLASS_LIST).class_names)
    images_N = np.arange(reader.num_images)
    weights, kinds = [], []
    for seed in range(reader.num_seeds):
        seeds_N = np.full(reader.num_images, seed)
        logits_NC = torch.from_numpy(labels.read(images_N, seeds_N))
        weights.append(informative_weight(logits_NC).numpy())
        boxes_N4 = reader.read_plane("crop/box", seed)
        kinds += [
            crop_content(scenes[path], box.tolist()).kind
            for path, box in zip(reader.images.paths, boxes_N4, strict=True)
        ]
    return np.concatenate(weights), np.array(kinds)
