"""Prompts from checkpoints of public code: CoOp and CoCoOp as Dassl saves them, and KDPL on either.

Such a file holds `state_dict` with the context as `ctx` [M, W] or [C, M, W], often in half precision, and the token
embeddings around it, which follow from the class names and are left.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import ModelConfig
from fdbpl.pipeline.learners.base import LearnerContext
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.students.start_file import SOURCE, USE
from fdbpl.pipeline.training.checkpoint import facts_header
from fdbpl.pipeline.training.saved_learner import Use
from fdbpl.pipeline.use.restricted_load import load_checkpoint
from fdbpl.pipeline.weights import weights_source
from fdbpl.pipeline.whole_file import replace_file

# Public name -> ours, by learner.
NAMES = {
    "coop": {"ctx": "positive"},
    "cocoop": {
        "ctx": "positive",
        "meta_net.linear1.weight": "net.0.weight",
        "meta_net.linear1.bias": "net.0.bias",
        "meta_net.linear2.weight": "net.2.weight",
        "meta_net.linear2.bias": "net.2.bias",
    },
}
# What follows from the class names.
_LEFT = ("token_prefix", "token_suffix")


def import_checkpoint(
    path: Path,
    out: Path,
    *,
    model: ModelConfig,
    class_names: tuple[str, ...],
    learner: str = "coop",
    class_position: str = "end",
) -> dict[str, Any]:
    """Write a public checkpoint as a file of prompts that tells how it is used; what was written, as JSON.

    Raises:
        ValueError: another learner, a file that is refused or holds other tensors, shapes that do not suit the model.
    """
    if learner not in NAMES:
        raise ValueError(f"found --learner {learner}, expected one of {', '.join(NAMES)}")
    prompts = _renamed(path, load_checkpoint(path), NAMES[learner])
    options: dict[str, Any] = {"context": "", "num_context": prompts["positive"].shape[-2]}
    if learner == "coop":
        options |= {"class_specific": prompts["positive"].ndim == 3, "class_position": class_position}
    use = Use(
        model=model,
        learner=learner,
        learner_options=options,
        dual=False,
        class_names=class_names,
        template="a photo of a {}.",
    )
    built = learner_options(learner, options).build(
        LearnerContext(backbone=load_backbone(model), class_names=class_names)
    )
    expected = {name: tuple(value.shape) for name, value in built.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in prompts.items()}
    if found != expected:
        raise ValueError(f"{path}: found tensors {found}, expected {expected} for {learner} on {model.model}")
    facts = {"imported_from": path.name, USE: use.to_json(), SOURCE: weights_source(model.pretrained)}
    replace_file(out, save(prompts, metadata=facts_header(facts)), durable=True)
    return {"prompts": str(out), "learner": learner, "tensors": {name: list(shape) for name, shape in found.items()}}


def _renamed(path: Path, checkpoint: dict[str, Any], names: dict[str, str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint by our names, in float32."""
    state = checkpoint.get("state_dict", checkpoint)
    tensors = {
        str(name).removeprefix("prompt_learner."): value for name, value in state.items() if isinstance(value, Tensor)
    }
    missing = [name for name in names if name not in tensors]
    other = [name for name in tensors if name not in names and name not in _LEFT]
    if missing or other:
        raise ValueError(
            f"{path}: found the tensors {', '.join(tensors) or 'none'}, expected {', '.join(names)}: check --learner"
        )
    return {ours: tensors[name].detach().to(torch.float32).contiguous() for name, ours in names.items()}
