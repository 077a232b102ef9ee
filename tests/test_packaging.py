"""The package as others get it: a wheel with all its files, a checkout that shadows nobody's package."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = {".py", ".json", ".toml", ".safetensors", ".md", ".j2", ".css", ".js", ".svg"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git tracks, so that the build leaves nothing in the checkout."""
    source = tmp_path_factory.mktemp("source")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)],
        capture_output=True,
        check=True,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        f"fdbpl/{path.relative_to(ROOT)}"
        for folder in ("cache_layout", "kernels", "pipeline", "slurm")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".json", ".toml", ".safetensors", ".md", ".j2", ".css", ".js", ".svg"}
        and "__pycache__" not in path.parts
    }
    assert expected - names == set()
    assert {name.split("/")[0] for name in names} - {"fdbpl"} == {
        next(n.split("/")[0] for n in names if ".dist-info" in n)
    }


def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere and put first on the path, so that the editable install cannot stand in for it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        "import fdbpl.pipeline.cli as cli, fdbpl.kernels.distillation as d;"
        "assert cli.__file__.startswith(sys.argv[1]) and d.__file__.startswith(sys.argv[1]);"
        "sys.argv[1:] = ['init', 'made.toml', '--preset', 'tiny']; cli.main()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "site")], cwd=tmp_path, check=True)
    assert "[teacher]" in (tmp_path / "made.toml").read_text()


def test_pip_installs_the_wheel_with_its_program(wheel: Path, tmp_path: Path) -> None:
    """As pipx and `pip install` do it, without its dependencies: those of the tests serve."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)

    def fdbpl(*arguments: str) -> str:
        command = [str(site / "bin" / "fdbpl"), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    # A wheel says no revision: it is its version.
    assert re.fullmatch(r"fdbpl \d+\.\d+\.\d+\n", fdbpl("--version"))
    made = json.loads(fdbpl("world", "make", "play", "--json"))
    assert (tmp_path / made["teacher"]).is_file()
    fdbpl("init", "--preset", "tiny", "play/fdbpl.toml")
    planned = json.loads(fdbpl("plan", "play/fdbpl.toml", "--json"))
    assert planned["backend"] == "local"


def test_an_editable_install_is_the_checkout_itself() -> None:
    """What `make setup` makes: the four folders under the name fdbpl, from anywhere."""
    code = (
        "import fdbpl.cache_layout.reader as a, fdbpl.kernels.ranking as b, fdbpl.slurm.stage as c, "
        "fdbpl.pipeline.cli as d; print(*(m.__file__ for m in (a, b, c, d)), sep='\\n')"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[:4] == [
        str(ROOT / place)
        for place in ("cache_layout/reader.py", "kernels/ranking.py", "slurm/stage.py", "pipeline/cli.py")
    ]


def test_another_package_named_kernels_is_not_shadowed(tmp_path: Path) -> None:
    """Started from the checkout, `import kernels` must find the installed package of that name, not our folder."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("whose = 'theirs'\n")
    code = "import sys; sys.path.append(sys.argv[1]); import kernels, fdbpl.kernels.distillation; print(kernels.whose)"
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "theirs\n"
