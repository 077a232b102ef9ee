"""Where a program makes the host wait for the device."""

import warnings
from collections.abc import Callable

import torch


def find_syncs(work: Callable[[], object], device: str = "cuda") -> list[str]:
    """Run `work`, and tell each wait that torch made in it, as `file:line`.

    Waits for an event or a stream that a program asks for by name are not among them: torch tells of copies, of values
    that are read back, and of sizes that depend on values. On a CPU there is none.
    """
    if device != "cuda":
        work()
        return []
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{one.filename}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
