"""A frozen CLIP from open_clip, with all that decides what it says of an image.

Invariant: a backbone always holds loaded weights (random ones are an error, never a warning), is in evaluation
mode and has no trainable parameter. Its digest names the weights themselves, not the file they came from.
Letters: B batch, C texts, D embedding, H W pixels.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.build import loaded_module
from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.config import ModelConfig, Precision, TextTower

_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}
# Bounds the memory of long class lists: the widest hidden states of so many texts take 1.3 GB in ViT-H-14, in float32.
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A frozen open_clip model on a device.

    `module` is the open_clip model, `image_size` the side of its square input in pixels, `mean` and `std` its
    normalisation, `logit_scale` the factor of its cosines; `is_compiled` says that `encode_pixels` runs through
    torch.compile, for batches of one shape; `text_tower` how learned text prompts are encoded.
    """

    model: str
    pretrained: str
    precision: Precision
    device: torch.device
    module: Any  # open_clip's classes share no typed interface
    tokenizer: Any
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    logit_scale: float
    is_compiled: bool = False
    text_tower: TextTower = "packed"

    @property
    def embedding_width(self) -> int:
        return int(self.module.visual.output_dim)

    @torch.no_grad()
    def encode_pixels(self, pixels_BCHW: Tensor) -> Tensor:
        """Unit image features [B, D] float32 of uint8 pixels [B, 3, H, W] cut at this model's size."""
        pixels_BCHW = self.normalised(pixels_BCHW)
        with self.autocast():
            features_BD = self._encode_image(pixels_BCHW)
        return normalize(features_BD.to(torch.float32), dim=-1)

    def normalised(self, pixels_BCHW: Tensor) -> Tensor:
        """What the image encoder takes [B, 3, H, W]: float32 on the device, of uint8 pixels."""
        mean, std = self._normalisation
        return (pixels_BCHW.to(self.device, non_blocking=True).to(torch.float32) / 255.0 - mean) / std

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit text features [C, D] float32 of plain sentences."""
        parts = []
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            tokens = self.tokenizer(list(texts[first : first + _TEXTS_AT_ONCE])).to(self.device)
            with self.autocast():
                features_CD = self.module.encode_text(tokens)
            parts.append(normalize(features_CD.to(torch.float32), dim=-1))
        return torch.cat(parts) if parts else torch.empty(0, self.embedding_width, device=self.device)

    @cached_property
    def _normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [1, 3, 1, 1] on the device: moved once, since each copy is waited for."""
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return mean, std

    @cached_property
    def _encode_image(self) -> Callable[[Tensor], Tensor]:
        encode: Callable[[Tensor], Tensor] = self.module.encode_image
        return torch.compile(encode, dynamic=False) if self.is_compiled else encode

    def autocast(self) -> torch.autocast:
        """The arithmetic of `precision`, for whoever runs a part of the module."""
        dtype = _AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    @cached_property
    def weights_digest(self) -> str:
        """sha256 over names and values. Taken where it is asked for: it reads all weights, and no student asks."""
        return weights_digest(self.module)

    def identity(self) -> dict[str, Any]:
        """What of this model changes a label: the part of a store's manifest that names it."""
        return {
            "model": self.model,
            "weights": self.weights_digest,
            "precision": self.precision,
            "logit_scale": self.logit_scale,
        }

    def preprocessing(self) -> dict[str, Any]:
        return {
            "image_size": self.image_size,
            "interpolation": "bicubic, antialiased",
            "mean": list(self.mean),
            "std": list(self.std),
        }


def load_backbone(config: ModelConfig, device: str = "cpu", *, compiled: bool = False) -> Backbone:
    """An open_clip model by name, with weights by tag or from a checkpoint file. Loaded once a process.

    Raises:
        ValueError: an unknown model or tag, a missing file, or a checkpoint of another model.
    """
    backbone = _load(config.model, config.pretrained, config.precision, device)
    return _compiled(backbone) if compiled else backbone


@lru_cache(maxsize=4)
def _compiled(backbone: Backbone) -> Backbone:
    return replace(backbone, is_compiled=True)


@lru_cache(maxsize=4)
def _load(model: str, pretrained: str, precision: Precision, device: str) -> Backbone:
    check_names(model, pretrained)
    import open_clip  # after it was imported quickly, as everywhere below

    module = loaded_module(model, pretrained, device).eval().requires_grad_(False)
    preprocess = open_clip.get_model_preprocess_cfg(module)
    size = preprocess["size"]
    return Backbone(
        model=model,
        pretrained=pretrained,
        precision=precision,
        device=torch.device(device),
        module=module,
        tokenizer=open_clip.get_tokenizer(model),
        image_size=size[0] if isinstance(size, (tuple, list)) else size,
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        logit_scale=round(float(module.logit_scale.detach().exp()), 4),
    )


def forget_backbones() -> None:
    """Let go of the models that were loaded, so that their memory can be used for others."""
    _compiled.cache_clear()
    _load.cache_clear()


def embedding_width(model: str) -> int:
    """D of a model by its name, without building it. Raises ValueError for an unknown name."""
    register_tiny_models()
    import open_clip

    found = open_clip.get_model_config(model)
    if found is None:
        raise _unknown_model(model)
    return int(found["embed_dim"])


def check_names(model: str, pretrained: str) -> None:
    """Refuse an unknown model, one that needs a package which is not here, and weights that are neither a known tag nor
    a file, before anything is built. Raises ValueError."""
    register_tiny_models()
    import open_clip

    if model not in open_clip.list_models():
        raise _unknown_model(model)
    text = open_clip.get_model_config(model)["text_cfg"]
    if ("hf_tokenizer_name" in text or "hf_model_name" in text) and find_spec("transformers") is None:
        raise ValueError(
            f"found no package transformers, expected it for the tokenizer of {model}: "
            "python -m pip install transformers"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in tags and not Path(pretrained).is_file():
        raise ValueError(
            f"found pretrained = {pretrained!r} for {model}, expected an existing checkpoint file"
            + (f" or one of the tags {', '.join(tags)}" if tags else " (this model has no downloadable weights)")
        )


def _unknown_model(model: str) -> ValueError:
    import open_clip

    near = get_close_matches(model, open_clip.list_models(), n=3) or ["ViT-B-32", "ViT-L-14"]
    return ValueError(f"found the model name {model!r}, expected one that open_clip knows, such as {', '.join(near)}")


def random_checkpoint(model: str, path: Path) -> Path:
    """Write random weights of a model as a checkpoint file, where it is not there yet; the file. For measuring speed.

    Raises:
        ValueError: an unknown model.
    """
    embedding_width(model)  # refuses an unknown name
    import open_clip

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        # Random weights are what is wanted, and not to be warned of.
        logging.disable(logging.WARNING)
        try:
            module = open_clip.create_model(model)
        finally:
            logging.disable(logging.NOTSET)
        save_file(module.state_dict(), path)
    return path


def weights_digest(module: nn.Module) -> str:
    """sha256 over the names, types, shapes and bytes of all parameters and buffers that are saved."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"
