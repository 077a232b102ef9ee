"""How many floating-point operations a piece of work takes, and how many a second this machine's matrix products do:
together the least time that the work can take."""

import time
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

# Products of this size, in so many seconds: larger ones are no faster.
_SIDE, _SECONDS = 2048, 1.0
# Of the arithmetic that a config names.
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def operations(work: Callable[[], object]) -> int:
    """Of all matrix products and convolutions that `work` runs, forward and backward: two for a multiplication and an
    addition. Attention is counted as the products that it is made of; torch's layers that do it in one operation do
    not."""
    is_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)
    return int(counter.get_total_flops())


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of large matrix products, the best of several."""
    a, b = (torch.randn(_SIDE, _SIDE, device=device).to(dtype) for _ in range(2))
    best, ends = 0.0, time.perf_counter() + _SECONDS
    while not best or time.perf_counter() < ends:
        started = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for it
        best = max(best, 2 * _SIDE**3 / (time.perf_counter() - started))
    return best
