"""Classifiers from hand-written prompts. Letters: C classes, D embedding."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.prompts import readable


def text_classifier(backbone: Backbone, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit text features [C, D] float32: for each class the mean over the templates, made unit again.

    Raises:
        ValueError: no template, or one without the place {} for the class name.
    """
    if not templates:
        raise ValueError("found no template, expected at least one such as 'a photo of a {}.'")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"found the template {template!r}, expected exactly one {{}} for the class name")
    total_CD = torch.zeros(len(class_names), backbone.embedding_width, device=backbone.device)
    for template in templates:
        total_CD += backbone.encode_texts([template.format(readable(name)) for name in class_names])
    return normalize(total_CD, dim=-1)


def imagenet_templates(first: int = 80) -> tuple[str, ...]:
    """The first so many of the 80 prompts that OpenAI made for ImageNet, in their order."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES  # slow to import, and not needed by a command that runs no model

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES[:first])
