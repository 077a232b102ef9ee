"""What the README shows must work: each of its commands, and its Python."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line[2:].split("#")[0].strip() for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
# These need a data set and weights that are not here; they run on the tiny world in other tests.
NEED_REAL_DATA = {"teach run.toml", "features run.toml", "train run.toml", "evaluate run.toml"}


def test_the_readme_shows_commands() -> None:
    assert "@@" not in README, "a place that was to be filled in"
    assert len(COMMANDS) > 10
    assert {"make demo", "make test"} <= set(COMMANDS)


def test_make_has_the_targets_that_are_shown() -> None:
    for command in COMMANDS:
        if command.startswith("make "):
            answer = subprocess.run(
                ["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
def test_every_command_and_the_python_run_in_order(tmp_path: Path) -> None:
    """In an empty folder, one after another, as a reader types them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = 0
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program != "fdbpl":
            assert program == "make", f"the README shows {command}, which no test runs"
            continue
        answer = subprocess.run(
            [sys.executable, "-m", "fdbpl.pipeline.cli", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        ran += 1
        if " ".join(arguments) in NEED_REAL_DATA:
            # No data set here: the command must say so, and nothing else may be wrong with it.
            assert answer.returncode == 2
            assert "data/caltech-101" in answer.stderr
        else:
            assert answer.returncode == 0, f"{command}: {answer.stderr}"
    assert ran >= 10
    (python,) = (text for kind, text in BLOCKS if kind == "python")
    answer = subprocess.run(
        [sys.executable, "-c", python], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "(640, 16, 32) fdbpl-tiny-teacher (3, 32)\n"
