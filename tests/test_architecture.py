"""The shape of the code: which folder imports which, where each heavy library lives, and how long a file is."""

import ast
import configparser
import os
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cache_layout", "kernels", "pipeline", "slurm")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

# Heavy package -> the only places that may import it.
HOMES = {
    "zarr": ("cache_layout", "pipeline/bench/peers/zarr_peer.py"),
    "numcodecs": ("cache_layout",),
    "submitit": ("slurm",),
    "triton": ("kernels",),
    "nvidia": ("pipeline/loading/dali_decoder.py",),
    "open_clip": ("pipeline/clip",),
    "h5py": ("pipeline/bench/peers/h5py_peer.py",),
    "lmdb": ("pipeline/bench/peers/lmdb_peer.py",),
    "spdl": ("pipeline/bench/decode_peers/spdl_peer.py",),
    "tensorstore": ("pipeline/bench/peers/tensorstore_peer.py",),
}
MAY_IMPORT = {
    "cache_layout": {"cache_layout"},
    "kernels": {"kernels"},
    "slurm": {"slurm"},
    "pipeline": {"cache_layout", "kernels", "slurm", "pipeline"},
}


def imports_of(path: Path) -> Iterator[str]:
    """Every absolute module name that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; imports are absolute"
            yield node.module or ""


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_folders_import_in_one_direction(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    for module in imports_of(path):
        top, _, rest = module.partition(".")
        assert top not in FOLDERS, f"{path} imports {module}: say fdbpl.{module}"
        if top == "fdbpl":
            assert rest.split(".")[0] in MAY_IMPORT[folder], f"{folder} must not import {module} ({path})"


def test_packages_of_the_pipeline_import_in_one_direction() -> None:
    """None imports one that imports it, by whatever way. Files beside them hold what all share, and the commands."""
    packages = {path.name for path in (ROOT / "pipeline").iterdir() if path.is_dir()}
    imported: dict[str, set[str]] = {package: set() for package in packages}
    for path in FILES:
        place = path.relative_to(ROOT).parts
        if place[0] == "pipeline" and place[1] in packages:
            modules = (module.split(".") for module in imports_of(path) if module.startswith("fdbpl.pipeline."))
            imported[place[1]] |= {parts[2] for parts in modules} & packages - {place[1]}
    TopologicalSorter(imported).prepare()  # raises CycleError


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_have_one_home(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    for module in imports_of(path):
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or place.startswith(homes), f"{place} imports {module}, whose home is {homes}"


def test_no_file_is_over_300_lines() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    long = {str(path.relative_to(ROOT)): n for path in FILES + tests if (n := len(path.read_text().splitlines())) > 300}
    assert not long


def test_packages_are_the_folders() -> None:
    """setup.cfg lists packages by hand: a folder that is not listed would be missing from a wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = set()
    for folder in FOLDERS:
        for parent, _, names in os.walk(ROOT / folder):
            if any(name.endswith(".py") for name in names):
                found.add("fdbpl." + str(Path(parent).relative_to(ROOT)).replace("/", "."))
    assert listed == found


def test_top_folders_are_no_packages_by_themselves() -> None:
    """A plain `kernels` package in the checkout would shadow another that dependencies import."""
    assert not [folder for folder in FOLDERS if (ROOT / folder / "__init__.py").exists()]


def test_only_the_command_line_prints() -> None:
    printing = [
        str(path.relative_to(ROOT))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"
    ]
    assert not printing
