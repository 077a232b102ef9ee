"""Large libraries and the garbage collector: what modules consist of is no garbage, and need not be looked through."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import in the body without the garbage collector, which would look through all that is there again and again
    while it grows; and keep what is there then out of its sight, until the process ends.

    Of torch and open_clip that saves a fifth of their time, and a part of a second for each later collection of
    everything, such as at the end. What is garbage by then stays in memory, so nothing is hidden where no module came.
    """
    num_modules, was_enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > num_modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
