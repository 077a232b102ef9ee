"""Saved prompts, and the state from which a stopped student goes on.

Prompts are safetensors with what they were made from in the header. The training state is read back by torch's
restricted loader, which makes tensors and plain values only.
"""

import io
import json
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fdbpl.cache_layout.manifest import digest_of
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.students.start_file import check_shapes, read_start_file
from fdbpl.pipeline.whole_file import replace_file

log = logging.getLogger(__name__)


def save_prompts(path: Path, learner: Learner, facts: dict[str, Any]) -> None:
    """Write all that was learned (positive and negative prompts, nets) with `facts` (config, fingerprint) in the
    header."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in learner.state_dict().items()}
    replace_file(path, save(tensors, metadata=facts_header(facts)), durable=True)


def facts_header(facts: dict[str, Any]) -> dict[str, str]:
    """Facts as the header of a file of prompts."""
    return {"fdbpl": json.dumps(facts, sort_keys=True)}


def read_prompts(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The prompts and facts of a file that save_prompts wrote. Raises ValueError where it is another file."""
    facts = read_start_file(path).facts
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in sorted(file.keys())}, facts


def prompts_digest(prompts: dict[str, Tensor]) -> str:
    """`sha256:` of the prompts' names, shapes and values, wherever they lie."""
    return digest_of(save({name: value.detach().cpu().contiguous() for name, value in prompts.items()}))


def load_into(learner: Learner, prompts: dict[str, Tensor]) -> None:
    """Copy saved prompts into a learner of the same form. Raises ValueError, naming what does not fit."""
    found, expected = shapes_of(prompts), shapes_of(learner.state_dict())
    if found != expected:
        raise ValueError(f"found prompts of shapes {found}, expected {expected}: another learner wrote them")
    learner.load_state_dict(prompts)


def start_from(learner: Learner, prompts: dict[str, Tensor]) -> None:
    """Let a learner begin with prompts that another has learned: those of its own names are copied. What it has more
    begins as it would, and what the other had more is left.

    Raises:
        ValueError: no name in common, or another shape under the same name.
    """
    own = learner.state_dict()
    check_shapes(shapes_of(prompts), shapes_of(own))
    with torch.no_grad():
        for name, value in own.items():
            if name in prompts:
                value.copy_(prompts[name])


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def save_state(path: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    replace_file(path, buffer.getvalue())


def load_state(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state of a stopped student, or None where there is none or it belongs to another config."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        log.warning("%s is not readable (%s): the student begins anew", path, error)
        return None
    return state if state["identity"] == json.dumps(identity, sort_keys=True) else None
