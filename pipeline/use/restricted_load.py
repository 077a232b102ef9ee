"""Reading torch checkpoints of others without running what they hold.

A pickle names the functions that rebuild its objects, and a hostile one names those that run a command. Here a name is
looked up in a short list: tensors, containers and numbers are rebuilt; optimisers and schedulers, which public
checkpoints hold beside their weights, become empty stand-ins without their code being imported; any other name ends the
reading.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._utils


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """A defaultdict as the dict that it is for a reader."""
    return {}


def _bytes(text: str, encoding: str) -> bytes:
    """Bytes as protocol 2 writes them, and no other encoding."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding}")
    return text.encode("latin-1")


_REBUILT: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _plain_dict,
    ("_codecs", "encode"): _bytes,
    # Protocol 2 has the names of Python 2.
    **{(module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in (dict, list, set)},
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("numpy", "dtype"): np.dtype,
    **{
        ("torch", f"{kind}Storage"): getattr(torch, f"{kind}Storage")
        for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
}
# Whole packages whose objects are of no use here.
_LEFT_OUT = ("torch.optim.", "dassl.", "yacs.")


class LeftOut:
    """Stands for an object that is not read."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _number(dtype: np.dtype[Any], content: bytes = b"") -> Any:
    """A numpy number, as training logs hold them; its own rebuilder would read objects too."""
    if dtype.hasobject:
        raise pickle.UnpicklingError(f"a number of type {dtype}")
    return np.frombuffer(content, dtype=dtype, count=1)[0]


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _REBUILT:
            return _REBUILT[module, name]
        if name == "scalar" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _number
        if f"{module}.".startswith(_LEFT_OUT):
            return LeftOut
        raise pickle.UnpicklingError(f"{module}.{name}")


class _Pickle:
    """What torch.load asks of a pickle module."""

    Unpickler = _Restricted
    UnpicklingError = pickle.UnpicklingError
    __name__ = "restricted"

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        return _Restricted(file, **options).load()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint file holds, on the CPU.

    Raises:
        ValueError: no such file, one that is no checkpoint, or one that names what is not to be run: it says what.
    """
    if not path.is_file():
        raise ValueError(f"found no file {path}, expected a checkpoint")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: found no zip file, expected a checkpoint as torch.save has written it since torch 1.6; older "
            "ones are pickles throughout and are not read"
        )
    try:
        # Of other names than those above the reader below gives none.
        found = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Pickle)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused, for it asks for {error}, which a checkpoint of prompts has no need of: it may be made "
            "to run something; nothing of it was run"
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path}: found no readable checkpoint ({first}), expected one written by torch.save"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: found a {type(found).__name__}, expected a checkpoint with a `state_dict`")
    return found
