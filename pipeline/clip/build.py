"""An open_clip model with the weights of a tag or a file, without drawing the random values that they replace.

Invariant: every value comes from the file, for open_clip refuses a file that lacks a parameter or a saved buffer of the
model; what is made otherwise than by drawing (masks, fixed positions) is made as always. Drawing takes longer than
reading.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

# What open_clip lets through from a file that is cut short, empty, or something else.
_NO_WEIGHTS = (RuntimeError, KeyError, EOFError, StopIteration, SafetensorError, UnpicklingError)
# The initialisers of torch that a mode is told of by name; the others come to it as the methods by which they draw.
_DRAW_INTO = {Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_}
# Files of this kind are read by another function of open_clip's, which does not tell of what it leaves out.
_UNCHECKED = (".npz", ".npy")


def loaded_module(model: str, pretrained: str, device: str) -> Any:
    """The model of that name with its weights, in float32 on the device.

    Raises:
        ValueError: weights that are not there, or another model's.
    """
    import open_clip

    try:
        with nullcontext() if Path(pretrained).suffix in _UNCHECKED else Undrawn():
            return open_clip.create_model(model, pretrained=pretrained, precision="fp32", device=device)
    except _NO_WEIGHTS as error:
        raise ValueError(_why_not(model, pretrained, error)) from error


class Undrawn(TorchFunctionMode):
    """Within it tensors that would be filled with random values keep whatever is in their memory: for those that a
    file's values replace."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAW_INTO:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _why_not(model: str, pretrained: str, error: Exception) -> str:
    """What to say of weights that do not load: a file that is another model's, or a tag that is not on this machine."""
    told = _first_lines(str(error))
    if Path(pretrained).is_file() or "download" not in told:
        return (
            f"the weights {pretrained!r} do not load into {model}: {told}\n"
            "expected: weights of this very architecture; check `model` against the checkpoint"
        )
    offline = (
        "HF_HUB_OFFLINE is set, so they are looked for in the cache alone. " if os.getenv("HF_HUB_OFFLINE") else ""
    )
    load = f"import open_clip; open_clip.create_model({model!r}, pretrained={pretrained!r})"
    return (
        f"the weights {pretrained!r} of {model} are not on this machine, and are not had from elsewhere: {told}\n"
        f"{offline}Bring them into the cache where there is a network, with the same HF_HOME as here "
        f'(python -c "{load}"), or set `pretrained` to a checkpoint file. To see it all work without them: '
        "`fdbpl init --preset tiny --data FOLDER`, with the two tiny models that fdbpl brings"
    )


def _first_lines(text: str, most: int = 4) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:most]) + (f" … ({len(lines) - most} more)" if len(lines) > most else "")
