"""What learned prompts say of image files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.loading.decoder import Decoder, UnreadableImages, kept_decoder
from fdbpl.pipeline.values import Views

_BATCH = 64


@torch.no_grad()
def predict(
    learner: Learner, class_names: Sequence[str], images: Sequence[Path], *, top: int = 5, decoder: str = "pillow"
) -> Iterator[dict[str, Any]]:
    """The likeliest classes of each image, in order, by the test transform.

    Yields:
        {"image", "classes": [{"name", "probability"}, …], likeliest first}, with "accepted" where the learner has
        negative prompts: the probability of the likeliest class's positive prompt against its negative one. An image
        that cannot be read has "error" in place of classes.
    """
    texts = learner.texts(class_names)
    reader = kept_decoder(decoder, learner.backbone.device.type)
    for start in range(0, len(images), _BATCH):
        chosen = images[start : start + _BATCH]
        pixels_BCHW, reasons = _readable(reader, chosen, learner.backbone.image_size)
        rows = iter(() if pixels_BCHW is None else _rows(learner, class_names, texts, pixels_BCHW, top))
        for path in chosen:
            yield {"image": str(path), **({"error": reasons[path]} if path in reasons else next(rows))}


def _readable(decoder: Decoder, paths: Sequence[Path], size: int) -> tuple[Tensor | None, dict[Path, str]]:
    """Pixels of those images that can be read, in order (None: of none), and why the others cannot."""
    reasons: dict[Path, str] = {}
    while files := [path for path in paths if path not in reasons]:
        try:
            return decoder.center(files, size), reasons
        except UnreadableImages as error:
            reasons |= {files[one.index]: one.reason for one in error.images}
    return None, reasons


def _rows(
    learner: Learner, class_names: Sequence[str], texts: Any, pixels_BCHW: Tensor, top: int
) -> Iterator[dict[str, Any]]:
    ids_B = torch.arange(len(pixels_BCHW))
    features_BD = learner.backbone.encode_pixels(pixels_BCHW) if "features" in learner.needs else None
    views = Views(image_ids_B=ids_B, seeds_B=ids_B, labels_B=ids_B, pixels_BCHW=pixels_BCHW, features_BD=features_BD)
    prediction = learner.predict(views, texts)
    margins_BC = prediction.margins()
    probs_BC = prediction.logits_BC.float().softmax(dim=-1).cpu()
    best_BK = probs_BC.topk(min(top, len(class_names)), dim=-1)
    for row, (probs_K, places_K) in enumerate(zip(best_BK.values.tolist(), best_BK.indices.tolist(), strict=True)):
        classes = [
            {"name": class_names[place], "probability": round(prob, 6)}
            for place, prob in zip(places_K, probs_K, strict=True)
        ]
        found: dict[str, Any] = {"classes": classes}
        if margins_BC is not None:
            found["accepted"] = round(float(margins_BC[row, places_K[0]].float().sigmoid()), 6)
        yield found
