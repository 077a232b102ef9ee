"""A model's shapes without its values, on torch's meta device: made in a tenth of a second, nothing loaded.

What is built on it is refused for the same reasons as on the model itself; what it computes has shapes alone.
"""

import logging
from functools import lru_cache

import torch

from fdbpl.pipeline.clip.backbone import Backbone, embedding_width


class BlankBackbone(Backbone):
    """Its tensors have no values, so its arithmetic has no precision."""

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", enabled=False)


@lru_cache(maxsize=4)
def blank_backbone(model: str) -> BlankBackbone:
    """Raises ValueError for an unknown model, or one that needs what is not installed."""
    import open_clip  # slow to import, and not needed by a command that runs no model

    embedding_width(model)  # refuses an unknown name
    # That there are no weights is what is wanted, and not to be warned of.
    logging.disable(logging.WARNING)
    try:
        with torch.device("meta"):
            module = open_clip.create_model(model, device="meta")
        tokenizer = open_clip.get_tokenizer(model)
    except (RuntimeError, ImportError, OSError) as error:
        raise ValueError(f"the model {model} cannot be built here: {str(error).splitlines()[0]}") from error
    finally:
        logging.disable(logging.NOTSET)
    size = open_clip.get_model_preprocess_cfg(module)["size"]
    return BlankBackbone(
        model=model,
        pretrained="",
        precision="fp32",
        device=torch.device("meta"),
        module=module.eval().requires_grad_(False),
        tokenizer=tokenizer,
        image_size=size[0] if isinstance(size, (tuple, list)) else size,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        logit_scale=1.0,
    )
