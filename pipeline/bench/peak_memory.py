"""The most memory that a piece of work held beyond what the process held before."""

import ctypes
import ctypes.util
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Written to clear_refs, it sets the peak back to what is resident now.
_RESET_PEAK = "5"


def peak_bytes(work: Callable[[], object], device: str) -> int:
    """The most that `work` holds of a device's memory, beyond what was held before."""
    if device != "cuda":
        return growth_bytes(work)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def growth_bytes(work: Callable[[], object]) -> int:
    """Run `work`; the peak of this process's resident memory in it, less what was resident when it began. What the C
    library keeps of memory freed before goes back to the system first, for it would not be counted."""
    _give_back()
    _CLEAR.write_text(_RESET_PEAK)
    before = _kibibytes("VmRSS")
    work()
    return max(0, _kibibytes("VmHWM") - before) * 1024


def _give_back() -> None:
    """Other C libraries than glibc have no such call, and keep little."""
    trim = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _kibibytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise OSError(f"{_STATUS} has no {name}")
