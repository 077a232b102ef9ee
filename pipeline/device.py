"""Which device models run on, and which decoder suits it."""

import torch

from fdbpl.pipeline.config import RunConfig


def choose_device(name: str) -> str:
    """'cpu' or 'cuda'; 'auto' takes a GPU where there is one.

    Raises:
        ValueError: another name, or 'cuda' on a machine without a usable GPU.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ValueError(f"loading.device: found {name!r}, expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("loading.device: found 'cuda', but this machine has no usable GPU: use auto or cpu")
    return name


def planned_device(config: RunConfig) -> str:
    """The device that the run's tasks will use: the machine that submits may have no GPU while the tasks do."""
    if config.cluster.gpus and config.loading.device != "cpu":
        return "cuda"
    return choose_device(config.loading.device)


def decoder_name(config: RunConfig) -> str:
    """The decoder of the run's tasks, decided before they start: DALI on a GPU, torchvision on a CPU."""
    if config.loading.decoder != "auto":
        return config.loading.decoder
    return "dali" if planned_device(config) == "cuda" else "torchvision"
