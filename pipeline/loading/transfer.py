"""Moving tensors between host and device without holding the host up.

A copy from ordinary memory is waited for by torch; one between pinned memory and the device only takes its place in
the queue. Letters as the caller's.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

Arrived = Callable[[], dict[str, np.ndarray]]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device; what is queued there after this call sees it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensors: Mapping[str, Tensor]) -> Arrived:
    """Begin to copy tensors of one device to the CPU; the result waits for them and gives arrays of the same types."""
    if not any(tensor.is_cuda for tensor in tensors.values()):
        return lambda: {name: tensor.numpy() for name, tensor in tensors.items()}
    copies = {name: torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for name, one in tensors.items()}
    for name, tensor in tensors.items():
        copies[name].copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def wait() -> dict[str, np.ndarray]:
        arrived.synchronize()
        # Copied: pinned memory is scarce, and the rows are kept until the block is whole.
        return {name: copy.numpy().copy() for name, copy in copies.items()}

    return wait
