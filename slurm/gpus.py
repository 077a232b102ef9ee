"""The GPUs of this machine that may be used, told without CUDA: a process that has asked CUDA once is bound to it."""

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus(environment: Mapping[str, str] = os.environ, driver: Path = _DRIVER) -> tuple[str, ...]:
    """Ids of the GPUs, as CUDA_VISIBLE_DEVICES takes them.

    Args:
        environment: its CUDA_VISIBLE_DEVICES, where set, says which; like CUDA, up to the first negative number.
        driver: the folder in which NVIDIA's driver lists one folder for each GPU; asked where the variable is not set.
    """
    listed = environment.get(VARIABLE)
    if listed is None:
        return tuple(str(index) for index in range(len(list(driver.iterdir())) if driver.is_dir() else 0))
    ids = []
    for gpu in map(str.strip, listed.split(",")):
        if not gpu or gpu.startswith("-") or gpu == "NoDevFiles":
            break
        ids.append(gpu)
    return tuple(ids)
