"""Vision transformers with random weights that open_clip knows by name.

Visual tokens do not go into the tiny CLIPs that ship, which are ResNets.
"""

import json
from pathlib import Path
from typing import Any

import open_clip

from fdbpl.pipeline.clip.backbone import random_checkpoint


def vit_files(folder: Path, name: str, *, image_size: int = 48, layers: int = 3, width: int = 32) -> dict[str, str]:
    """Make a model known to open_clip and write its weights below `folder`; its keys of a table of students."""
    heads = {"width": width, "layers": layers}
    config: dict[str, Any] = {
        "embed_dim": 64,
        "vision_cfg": {"image_size": image_size, "head_width": width // 2, "patch_size": 16, **heads},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "heads": 2, **heads},
    }
    configs = folder / f"{name}-config"
    configs.mkdir()
    (configs / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(configs)
    return {"model": name, "pretrained": str(random_checkpoint(name, folder / f"{name}.safetensors"))}
