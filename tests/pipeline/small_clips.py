"""Small CLIPs with random weights, of the architectures that prompts go into; made in a few hundredths of a second."""

from functools import partial
from typing import Any

import open_clip
import torch
from open_clip.transformer import Transformer
from torch import Tensor

from fdbpl.pipeline.clip.backbone import Backbone

WIDTH, LAYERS, SIZE, TEXT_WIDTH = 24, 4, 16, 16
TEXT = {"context_length": 24, "vocab_size": 49408, "width": TEXT_WIDTH, "heads": 2, "layers": LAYERS}
VIT = {"image_size": SIZE, "patch_size": 8, "width": WIDTH, "head_width": 12, "layers": LAYERS}
TOKENIZER = open_clip.SimpleTokenizer(context_length=24)
RESNET = {"image_size": SIZE * 2, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}


def small_clip(
    vision: dict[str, Any] = VIT, *, text: dict[str, Any] | None = None, quick_gelu: bool = False, **changes: Any
) -> Backbone:
    """A CLIP of these settings; `changes` are of the image encoder. The same settings give the same weights."""
    vision = {**vision, **changes}
    torch.manual_seed(0)
    module = open_clip.CLIP(embed_dim=32, vision_cfg=vision, text_cfg={**TEXT, **(text or {})}, quick_gelu=quick_gelu)
    # As they are made, normalisations and biases do nothing: a tower that forgot one would not be noticed.
    for value in module.parameters():
        if value.ndim == 1:
            value.data.add_(0.1 * torch.randn_like(value))
    return Backbone(
        model="small",
        pretrained="random",
        precision="fp32",
        device=torch.device("cpu"),
        module=module.eval().requires_grad_(False),
        tokenizer=TOKENIZER,
        image_size=vision["image_size"],
        mean=(0.5, 0.4, 0.3),
        std=(0.3, 0.2, 0.25),
        logit_scale=14.0,
    )


small_resnet = partial(small_clip, RESNET)


def positions_first(backbone: Backbone) -> Backbone:
    """The same weights in open_clip's other layout of transformers."""
    for holder in (backbone.module.visual, backbone.module):
        old = holder.transformer
        heads = old.resblocks[0].attn.num_heads
        new = Transformer(old.width, old.layers, heads, batch_first=False)
        new.load_state_dict(old.state_dict())
        holder.transformer = new.eval().requires_grad_(False)
    return backbone


def hidden_states(backbone: Backbone, sentences: list[str], num_context: int) -> Tensor:
    """What stands at the context's positions at the inputs of layers 1, 2, ... of open_clip's own pass: [L, M, W]."""
    states: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _block, _inputs, output: states.append(output))
        for block in backbone.module.transformer.resblocks[:-1]
    ]
    with torch.no_grad():
        backbone.module.encode_text(backbone.tokenizer(sentences))
    for hook in hooks:
        hook.remove()
    context = torch.stack(states)[:, :, 1 : 1 + num_context]
    # Under the causal mask no class name reaches them.
    torch.testing.assert_close(context, context[:, :1].expand_as(context), rtol=0, atol=1e-5)
    return context[:, 0]


def random_pixels(backbone: Backbone, count: int = 3) -> Tensor:
    shape = (count, 3, backbone.image_size, backbone.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
