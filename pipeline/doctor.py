"""`fdbpl doctor`: what this machine has of what fdbpl uses, and the command that mends what is missing."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from fdbpl.slurm.controller import availability

State = Literal["ok", "optional", "missing"]


@dataclass(frozen=True)
class Finding:
    """`optional`: not there, and not needed for everything; `missing`: something will not work without it."""

    name: str
    state: State
    found: str
    mend: str = ""


PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "numpy",
    "zarr",
    "numcodecs",
    "google-crc32c",
    "submitit",
    "safetensors",
    "pillow",
    "pydantic",
    "typer",
    "rich",
    "matplotlib",
    "jinja2",
)


def examine() -> dict[str, Any]:
    """All findings, and whether nothing that is needed is missing."""
    checks = (_weights, _decoders, _dali, _gpu, _slurm, _memory_map_limit, _disk)
    findings = [_python(), *map(_package, PACKAGES), *map(_safely, checks)]
    return {
        "healthy": all(finding.state != "missing" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def _safely(check: Callable[[], Finding]) -> Finding:
    """A check that itself breaks is a finding, never the end of the examination."""
    try:
        return check()
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        name = check.__name__.strip("_").replace("_", " ")
        return Finding(name, "missing", f"{type(error).__name__}: {error}", "see the message")


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", "not installed", f"pip install {name}")


def _weights() -> Finding:
    from fdbpl.pipeline.clip import tiny

    names = sorted(path.name for path in tiny.WEIGHTS_FOLDER.glob("*.safetensors"))
    if not names:
        return Finding("tiny models", "missing", "no shipped checkpoint", "pip install --force-reinstall fdbpl")
    return Finding("tiny models", "ok", ", ".join(names))


def _decoders() -> Finding:
    """Encode and decode one image: an installed package is not yet a working one."""
    import torch
    from torchvision.io import decode_jpeg, encode_jpeg

    image = torch.full((3, 16, 16), 128, dtype=torch.uint8)
    difference = (decode_jpeg(encode_jpeg(image)).int() - 128).abs().max().item()
    return Finding("torchvision decoder", "ok" if difference <= 4 else "missing", f"JPEG, off by {difference}")


def _dali() -> Finding:
    from fdbpl.pipeline.loading.decoder import make_decoder

    try:
        decoder = make_decoder("dali")
    except ValueError as error:
        return Finding("dali decoder", "optional", str(error), "pip install nvidia-dali-cuda130")
    return Finding("dali decoder", "ok", decoder.version)


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("CUDA", "optional", "no usable GPU: everything runs on the CPU", "needs an NVIDIA driver")
    free, total = torch.cuda.mem_get_info()
    return Finding(
        "CUDA",
        "ok",
        f"{torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free, "
        f"CUDA {torch.version.cuda}",
    )


def _slurm() -> Finding:
    is_there, reason = availability()
    if is_there:
        return Finding("Slurm", "ok", reason)
    return Finding("Slurm", "optional", f"{reason}: tasks run on the local pool", "run fdbpl on a login node")


def _memory_map_limit() -> Finding:
    """A store maps each shard file: the kernel's limit on maps bounds how many files it may have."""
    limit_file = Path("/proc/sys/vm/max_map_count")
    if not limit_file.exists():
        return Finding("memory maps", "missing", f"no {limit_file}: the mapped reader needs Linux")
    limit = int(limit_file.read_text())
    return Finding("memory maps", "ok", f"up to {limit:,} a process")


def _disk() -> Finding:
    usage = shutil.disk_usage(Path.cwd())
    writable = os.access(Path.cwd(), os.W_OK)
    state: State = "ok" if usage.free > 2**30 and writable else "missing"
    found = f"{usage.free / 2**30:.1f} GiB free here" + ("" if writable else ", not writable")
    return Finding("disk", state, found, "" if state == "ok" else "choose a `folder` with room that you may write to")


def show_examination(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    marks = {"ok": "[green]ok[/]", "optional": "[yellow]none[/]", "missing": "[red]missing[/]"}
    table = Table()
    for column in ("", "part", "found", "what mends it"):
        table.add_column(column)
    for finding in result["findings"]:
        table.add_row(marks[finding["state"]], finding["name"], finding["found"], finding["mend"])
    Console().print(table)
