"""The class whose objects CoOp pickles, under the name that it has there."""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DASSL = "dassl.data.datasets.base_dataset"


class Datum:
    """As Dassl defines it: attributes behind properties, no state of its own making."""

    def __init__(self, impath: Any = "", label: Any = 0, domain: int = 0, classname: str = "") -> None:
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname


Datum.__module__ = DASSL


@contextmanager
def dassl_is_there() -> Iterator[None]:
    """Within it Datum can be pickled: its module is known."""
    names = [DASSL[:end] for end in (*(place for place, letter in enumerate(DASSL) if letter == "."), len(DASSL))]
    sys.modules.update({name: types.ModuleType(name) for name in names})
    sys.modules[DASSL].Datum = Datum  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
