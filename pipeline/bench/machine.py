"""The machine and the versions that a result was got with."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdbpl.pipeline.versions import code_revision, installed


def machine(versions: Mapping[str, str], folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Facts that change a rate, with the versions of the packages that are measured; what cannot be found out is
    `unknown`.

    Args:
        device: cpu or cuda: what models ran on.
    """
    return {
        "device": _device_name(device),
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "file_system": file_system(folder),
        "python": platform.python_version(),
        "versions": dict(versions),
        "fdbpl": {"version": installed(["fdbpl"]).get("fdbpl", "unknown"), "commit": code_revision() or "unknown"},
    }


def file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on."""
    place, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(place):
            place, kind = mount, found
    return kind


def _device_name(device: str) -> str:
    if device == "cpu":
        return device
    import torch  # slow to import, and not needed to measure reading

    return torch.cuda.get_device_name()


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
