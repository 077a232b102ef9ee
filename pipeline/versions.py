"""Which code a result was got with: versions of packages, commits of work trees."""

import os
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


def git_revision(folder: Path) -> str | None:
    """The commit of the work tree that a folder lies in, with `-dirty` where files differ from it; None outside."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=quiet)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
