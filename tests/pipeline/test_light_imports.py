"""What commands leave unimported: a library that is loaded for nothing is what a quick command would wait for.

Each is asked in a process of its own, by what it has imported and not by a clock.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "open_clip", "zarr", "matplotlib", "PIL", "fdbpl.pipeline.bench.train")
# Beside those: what a command needs that reads a config or a store.
CONFIG = ("numpy", "submitit", "fdbpl.pipeline.config", "fdbpl.cache_layout.reader")

RUN = """
import sys
from fdbpl.pipeline import cli
try:
    cli.main()
except SystemExit as ended:
    code = ended.code
named = sys.stdin.read().split()
print(code, *(name for name in named if name in sys.modules), file=sys.stderr)
"""


def imported(folder: Path, *arguments: str, of: tuple[str, ...]) -> list[str]:
    """The exit code of a command, then those of the modules that it has imported."""
    answer = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        input=" ".join(of),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr, answer.stdout
    return answer.stderr.splitlines()[-1].split()


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["bench", "train", "--help"], ["runs"]])
def test_help_and_what_reads_no_config_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert imported(tmp_path, *arguments, of=HEAVY + CONFIG) == ["0"]


def test_the_state_of_a_run_is_told_without_its_config(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('folder = "run"\n')
    assert imported(tmp_path, "status", "run.toml", of=HEAVY + CONFIG) == ["2"]  # for nothing was submitted


def test_a_config_is_written_and_read_without_torch(tmp_path: Path) -> None:
    assert imported(tmp_path, "init", "run.toml", "--preset", "tiny", of=(*HEAVY, "fdbpl.pipeline.config")) == [
        "0",
        "fdbpl.pipeline.config",
    ]
    assert imported(tmp_path, "data", "check", "run.toml", of=HEAVY) == ["1"]  # for its data are not there
