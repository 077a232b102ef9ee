"""Which code a result was got with: versions of packages, commits of work trees."""

import json
import os
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

DISTRIBUTION = "fdbpl"
# Those on which a run's numbers may depend.
PACKAGES = ("fdbpl", "torch", "open_clip_torch", "numpy", "zarr", "submitit", "torchvision", "nvidia-dali-cuda130")
_ROOT = Path(__file__).resolve().parents[1]


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def code_revision() -> str | None:
    """The commit of this code where it runs from its own checkout; None for an installed package, whatever work tree
    that is installed in."""
    return git_revision(_ROOT) if (_ROOT / ".git").exists() else None


def told_version() -> str:
    """The version, and the commit of a checkout or of what pip installed from a repository."""
    number = installed([DISTRIBUTION]).get(DISTRIBUTION, "not installed")
    revision = code_revision() or _installed_from()
    return f"{DISTRIBUTION} {number}" + (f" ({revision})" if revision else "")


def _installed_from() -> str | None:
    """The commit that pip has noted (PEP 610); None for a wheel."""
    try:
        noted = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    commit = json.loads(noted).get("vcs_info", {}).get("commit_id") if noted else None
    return str(commit) if commit else None


def git_revision(folder: Path) -> str | None:
    """The commit of the work tree that a folder lies in, with `-dirty` where files differ from it; None outside."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=quiet)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
