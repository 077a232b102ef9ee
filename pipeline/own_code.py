"""Learners and objectives of a user's own, named in a config by file and class: `focal.py:Focal`.

The file is taken from the config's folder, so that every task finds it wherever it runs, and nothing need be installed.
Only what a config names is imported. Students depend on the file's content: change it, and they are trained anew.
Imports no torch.
"""

import hashlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def own_file(reference: str) -> Path | None:
    """The file of a reference; None for a name of ours."""
    path, colon, _ = reference.rpartition(":")
    return Path(path) if colon else None


def plain_name(reference: str) -> str:
    """The class of a reference, a name of ours as it is: what tables, folders and options call it."""
    return reference.rpartition(":")[2]


def placed(reference: str, base: Path) -> str:
    """The reference with its file's path made absolute, from the folder `base`."""
    path = own_file(reference)
    return reference if path is None else f"{base / path}:{plain_name(reference)}"


def own_class(reference: str, needed: Sequence[str]) -> type:
    """The class that a reference names.

    Args:
        needed: what it must have to be used as it is to be.

    Raises:
        ValueError: no such file, one that cannot be imported, no such class in it, or one that lacks something.
    """
    path, name = own_file(reference), plain_name(reference)
    assert path is not None, "asked for references alone"
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"found {reference!r}, expected a Python file and a class of it, such as focal.py:Focal")
    found = getattr(_module(path, path.stat().st_mtime_ns), name, None)
    if not isinstance(found, type):
        raise ValueError(f"{path}: found no class {name} in it, expected one")
    # Not hasattr: a class itself can always be called, so it would never miss `__call__`.
    missing = [one for one in needed if not any(one in vars(base) for base in found.__mro__)]
    if missing or not _is_frozen(found):
        lacks = f"without {', '.join(missing)}" if missing else "that is no frozen dataclass"
        raise ValueError(
            f"{path}: found the class {name} {lacks}, expected a frozen dataclass as docs/extend.md shows it"
        )
    return found


def _is_frozen(found: type) -> bool:
    """Whether it is a dataclass itself, not by a base alone, and frozen."""
    return "__dataclass_fields__" in vars(found) and bool(vars(found)["__dataclass_params__"].frozen)


@lru_cache(maxsize=32)
def _module(path: Path, _modified: int) -> ModuleType:
    name = f"fdbpl_own_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "it is a file of Python"
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a file of somebody's may raise is told as its fault
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
