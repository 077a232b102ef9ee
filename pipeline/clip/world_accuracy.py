"""What a tiny CLIP knows of the miniature world: zero-shot accuracy by style of images, class list and template.

The images are rendered in memory from a seed of their own, so no training saw them. Costs 1 s for 1000 images.

Axes: N images, C classes, D embedding.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor

from fdbpl.pipeline.clip.captions import GENERIC_TEMPLATE, STYLE_TEMPLATES, tokenize
from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.clip.world_images import (
    CaptionedImages,
    central_square,
    normalized,
    random_box,
    render_images,
    view,
)
from fdbpl.pipeline.datasets.synthetic import COLORS, SHAPES, STYLES, SceneSpec
from fdbpl.pipeline.datasets.world_splits import SPLITS, Pair

ALL_PAIRS: tuple[Pair, ...] = tuple((color, shape) for color in COLORS for shape in SHAPES)
CLASS_LISTS: dict[str, tuple[Pair, ...]] = {
    "all": ALL_PAIRS,
    "base": SPLITS["latin"][:16],
    "new": SPLITS["latin"][16:],
}
EVALUATION_SEED = 1_000_003


def load_tiny(model: str, checkpoint: Path) -> Any:
    """Return a tiny CLIP from an ordinary checkpoint, in evaluation mode."""
    register_tiny_models()
    return open_clip.create_model(model, pretrained=str(checkpoint)).eval()


def measure_clip(
    model: str,
    checkpoint: Path,
    *,
    images_per_pair: int = 40,
    seed: int = EVALUATION_SEED,
    crop_scale: tuple[float, float] = (0.08, 1.0),
) -> dict[str, Any]:
    """Measure a tiny CLIP and return percentages.

    `zero_shot[style of the images][class list][template]` on whole images (the central square), for the class
    lists all (64 pairs), base and new (16 each) and every template; `crops[class list]` on negatives seen through
    one random crop each, with the negatives' own template.
    """
    clip = load_tiny(model, checkpoint)
    templates = (*STYLE_TEMPLATES.values(), GENERIC_TEMPLATE)
    zero_shot: dict[str, dict[str, dict[str, float]]] = {}
    crops: dict[str, float] = {}
    for style in STYLES:
        images = render_images(images_per_pair * len(ALL_PAIRS), seed=seed, spec=SceneSpec(), styles=(style,))
        features_ND = image_features(clip, images)
        zero_shot[style] = {
            name: {t: pair_accuracy(clip, features_ND, images, pairs, t) for t in templates}
            for name, pairs in CLASS_LISTS.items()
        }
        if style == "negative":
            features_ND = image_features(clip, images, crop_scale=crop_scale, seed=seed)
            template = STYLE_TEMPLATES[style]
            crops = {n: pair_accuracy(clip, features_ND, images, p, template) for n, p in CLASS_LISTS.items()}
    return {"images_per_pair": images_per_pair, "zero_shot": zero_shot, "crops": crops}


@torch.no_grad()
def image_features(
    clip: Any, images: CaptionedImages, *, crop_scale: tuple[float, float] | None = None, seed: int = 0
) -> Tensor:
    """Return unit features float32 [N, D] of the central squares, or of one random crop of each image."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    size, features = int(clip.visual.image_size), []
    for start in range(0, len(images), 256):
        pixels_BHWC = np.stack(
            [
                view(
                    file,
                    size=size,
                    choose_box=central_square
                    if crop_scale is None
                    else lambda width, height: random_box(generator, width, height, crop_scale),
                )
                for file in images.files[start : start + 256]
            ]
        )
        pixels_BCHW = normalized(pixels_BHWC, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD)
        features.append(clip.encode_image(pixels_BCHW, normalize=True))
    return torch.cat(features)


@torch.no_grad()
def text_features(clip: Any, pairs: Sequence[Pair], template: str) -> Tensor:
    """Return unit features float32 [C, D] of a template filled with each pair's name."""
    texts = [template.format(f"{color} {shape}") for color, shape in pairs]
    features_CD: Tensor = clip.encode_text(tokenize(texts, context_length=clip.context_length), normalize=True)
    return features_CD


def pair_accuracy(
    clip: Any, features_ND: Tensor, images: CaptionedImages, pairs: Sequence[Pair], template: str
) -> float:
    """Return the percentage right among the images whose pair is on the list, with one decimal."""
    place: Mapping[Pair, int] = {pair: c for c, pair in enumerate(pairs)}
    label_N = np.array([place.get((COLORS[c], SHAPES[s]), -1) for c, s, _ in images.facts_N3])
    chosen_N = (features_ND @ text_features(clip, pairs, template).T).argmax(dim=1).numpy()
    on_list_N = label_N >= 0
    return round(100 * float((chosen_N == label_N)[on_list_N].mean()), 1)
