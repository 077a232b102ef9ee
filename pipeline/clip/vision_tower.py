"""CLIP's vision transformer with learned tokens beside the patches: what visual prompt learners differentiate through.

The tokens of layer 0 stand behind the patches, without a position, and pass the first normalisation with them; deeper
ones replace what the layer before made of them (VPT-deep, arXiv 2203.12119, in the layout of MaPLe and PromptSRC). They
act through attention alone: what is pooled is the class token, or the mean over the patches, as in the plain tower. Its
features come out where there is no token. Letters: B batch, P patches, V visual tokens, L layers, W width, D embedding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.deep_prompts import check_depth, run_layers


def check_vision_tower(backbone: Backbone, depth: int, *, option: str) -> None:
    """Refuse image encoders that have no place for visual tokens, and more layers of tokens than a tower has.

    Args:
        option: what sets `depth`, for the message.

    Raises:
        ValueError: for example a ResNet, a model of timm, or one that pools by attention.
    """
    from open_clip.transformer import (
        VisionTransformer,
    )  # slow to import, and not needed by a command that runs no model

    visual = backbone.module.visual
    found = ""
    if not isinstance(visual, VisionTransformer):
        found = f"the image encoder {type(visual).__name__}"
    elif visual.attn_pool is not None:
        found = "an image encoder that pools by attention"
    elif visual.pool_type not in ("tok", "avg"):
        found = f"an image encoder with pooling {visual.pool_type!r}"
    if found:
        raise ValueError(
            f"found {found} in {backbone.model}, expected open_clip's VisionTransformer that pools its class token or "
            "the mean of its patches, such as ViT-B-16: visual prompts are tokens beside its patches. Choose such a "
            "model, or a learner of text prompts alone (coop, cocoop)"
        )
    check_depth(visual.transformer, depth, option=option, tower=f"the image encoder of {backbone.model}")


def vision_width(backbone: Backbone) -> int:
    """W of the image encoder's hidden states, for an encoder that `check_vision_tower` lets pass."""
    return int(backbone.module.visual.class_embedding.shape[0])


def encode_prompted(backbone: Backbone, pixels_BCHW: Tensor, tokens_LVW: Tensor) -> Tensor:
    """Unit image features [B, D] float32, differentiable with respect to the tokens.

    Args:
        pixels_BCHW: uint8 pixels cut at the backbone's size, as `Backbone.encode_pixels` takes them.
        tokens_LVW: the tokens that enter at layers 0 to L - 1; V = 0 gives the plain tower's features.
    """
    visual = backbone.module.visual
    pixels_BCHW = backbone.normalised(pixels_BCHW)
    with backbone.autocast():
        patches_BPW = visual.conv1(pixels_BCHW).flatten(2).transpose(1, 2)
        num_images, num_patches, _ = patches_BPW.shape
        class_B1W = visual.class_embedding.to(patches_BPW.dtype).expand(num_images, 1, -1)
        plain = torch.cat([class_B1W, patches_BPW], dim=1) + visual.positional_embedding.to(patches_BPW.dtype)
        first_BVW = tokens_LVW[0].to(plain.dtype).expand(num_images, -1, -1)
        hidden = visual.ln_pre(torch.cat([plain, first_BVW], dim=1))
        hidden = run_layers(visual.transformer, hidden, tokens_LVW[1:], first=1 + num_patches)
        features_BD = _pooled(visual, hidden[:, : 1 + num_patches])
        if visual.proj is not None:
            features_BD = features_BD @ visual.proj
    return normalize(features_BD.to(torch.float32), dim=-1)


def _pooled(visual: Any, hidden: Tensor) -> Tensor:
    """[B, W] of the states of class token and patches [B, 1 + P, W]."""
    if visual.pool_type == "tok":
        pooled: Tensor = visual.ln_post(hidden[:, 0])
    elif visual.final_ln_after_pool:
        pooled = visual.ln_post(hidden[:, 1:].mean(dim=1))
    else:
        pooled = visual.ln_post(hidden[:, 1:]).mean(dim=1)
    return pooled
