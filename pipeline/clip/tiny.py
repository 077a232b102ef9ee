"""The tiny CLIPs that ship with the package: their architectures, and their checkpoints packed small.

A packed checkpoint holds matrices as float16 and only those rows of the token table that are in use, with their
ids; unpacked, it is an ordinary open_clip checkpoint whose other rows are zero. Invariant: what is unpacked is a
function of the packed file alone, and a file found in its place is kept only if it is equal byte for byte.
Unpacking both takes about 0.1 s and 32 MB.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from fdbpl.pipeline.whole_file import replace_file
from fdbpl.slurm.imports import quick_imports

TINY_MODELS = {"teacher": "fdbpl-tiny-teacher", "student": "fdbpl-tiny-student"}
CONFIG_FOLDER = Path(__file__).parent / "configs"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"

_TABLE = "token_embedding.weight"
_ROWS, _IDS, _SIZE = "token_embedding.rows", "token_embedding.ids", "token_embedding.num_rows"


def register_tiny_models() -> None:
    """Make the tiny architectures known to open_clip by name; calling it again does nothing."""
    with quick_imports():
        import open_clip  # slow to import, and not needed by a command that runs no model

    if not set(TINY_MODELS.values()) <= set(open_clip.list_models()):
        open_clip.add_model_config(CONFIG_FOLDER)


def unpack_tiny_checkpoints(folder: Path, *, packed_folder: Path = WEIGHTS_FOLDER) -> dict[str, Path]:
    """Write the shipped teacher and student as ordinary open_clip checkpoints into `folder`.

    Returns the path of each by role. Load one with
    `open_clip.create_model(TINY_MODELS[role], pretrained=str(path))` after `register_tiny_models()`. A file that
    is already there and equal is left alone; any other content is replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {role: folder / f"{role}.safetensors" for role in TINY_MODELS}
    for role, path in paths.items():
        content = save(unpacked_state(load_file(packed_folder / f"{role}.safetensors")))
        if not path.exists() or path.read_bytes() != content:
            replace_file(path, content)
    return paths


def pack_checkpoint(checkpoint: Path, packed: Path) -> None:
    """Write an ordinary checkpoint of a tiny CLIP packed small; token rows that are all zero are left out."""
    replace_file(packed, save(packed_state(load_file(checkpoint))))


def packed_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return matrices in float16, vectors and scalars as they are, and the token table cut to its rows in use."""
    table_VD = state[_TABLE]
    ids_R = table_VD.abs().amax(dim=1).nonzero().flatten()
    packed = {
        name: tensor.to(torch.float16) if tensor.ndim > 1 else tensor
        for name, tensor in state.items()
        if name != _TABLE
    }
    packed[_ROWS] = table_VD[ids_R].to(torch.float16)
    packed[_IDS] = ids_R.to(torch.int32)
    packed[_SIZE] = torch.tensor(len(table_VD), dtype=torch.int32)
    return packed


def unpacked_state(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the ordinary model's float32 state of a packed one."""
    state = {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for name, tensor in packed.items()
        if name not in (_ROWS, _IDS, _SIZE)
    }
    rows_RD = packed[_ROWS].to(torch.float32)
    table_VD = torch.zeros(int(packed[_SIZE]), rows_RD.shape[1])
    table_VD[packed[_IDS].to(torch.int64)] = rows_RD
    state[_TABLE] = table_VD
    return state
