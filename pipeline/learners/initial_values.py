"""Where learned values begin: float32 on the backbone's device, drawn from the generator that is given, never from the
global one. Letters: V visual tokens, W width of a tower.
"""

import torch
from torch import Tensor, nn

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.text_tower import check_text_tower
from fdbpl.pipeline.clip.vision_tower import check_vision_tower, vision_width

# The published spread of tokens that start from no words.
RANDOM_SD = 0.02


def random_tokens(backbone: Backbone, random: torch.Generator, *shape: int) -> Tensor:
    return (RANDOM_SD * torch.randn(shape, generator=random)).to(backbone.device)


def visual_tokens(
    backbone: Backbone, *, num_tokens: int, depth: int, option: str, random: torch.Generator
) -> nn.Parameter:
    """Visual tokens [depth, V, W] at random. Raises ValueError as `check_vision_tower`."""
    check_vision_tower(backbone, depth, option=option)
    return nn.Parameter(random_tokens(backbone, random, depth, num_tokens, vision_width(backbone)))


def linear(backbone: Backbone, num_in: int, num_out: int, random: torch.Generator, *, bias: bool = True) -> nn.Linear:
    """A linear layer with torch's usual spread of initial values."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, num_in, num_out, bias=bias)
    for value in layer.parameters():
        nn.init.uniform_(value, -(num_in**-0.5), num_in**-0.5, generator=random)
    return layer.to(backbone.device)


def text_width(backbone: Backbone) -> int:
    """W of the text tower. Raises ValueError for another kind of tower than CLIP's."""
    check_text_tower(backbone.module)
    return int(backbone.module.token_embedding.weight.shape[1])
