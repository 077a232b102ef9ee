"""Which device models run on, and which decoder suits it."""

from fdbpl.pipeline.config import RunConfig
from fdbpl.slurm.controller import availability


def choose_device(name: str) -> str:
    """'cpu' or 'cuda'; 'auto' takes a GPU where there is one.

    Raises:
        ValueError: another name, or 'cuda' on a machine without a usable GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"loading.device: found {name!r}, expected auto, cpu or cuda")
    if name == "cpu":
        return name
    import torch  # slow to import, and asked for a GPU only

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise ValueError("loading.device: found 'cuda', but this machine has no usable GPU: use auto or cpu")
    return "cpu"


def planned_device(config: RunConfig) -> str:
    """The device that the run's tasks will use. Raises ValueError as choose_device does.

    Slurm tasks with GPUs have one, whatever the machine that submits them has.
    """
    if config.cluster.gpus and config.loading.device != "cpu" and _on_slurm(config):
        return "cuda"
    return choose_device(config.loading.device)


def device_here(config: RunConfig) -> str:
    """The device for what runs before tasks are submitted, or after: a GPU only where this machine has one."""
    return choose_device("auto") if planned_device(config) == "cuda" else "cpu"


def _on_slurm(config: RunConfig) -> bool:
    kind = config.cluster.kind
    return kind == "slurm" or (kind == "auto" and availability()[0])


def decoder_name(config: RunConfig) -> str:
    """The decoder of the run's tasks, decided before they start: DALI on a GPU, torchvision on a CPU."""
    if config.loading.decoder != "auto":
        return config.loading.decoder
    return "dali" if planned_device(config) == "cuda" else "torchvision"
