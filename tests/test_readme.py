"""What the README shows must work: each of its commands, and its Python."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line[2:].split("#")[0].strip() for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]


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


def fdbpl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fdbpl.pipeline.cli", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def put_small_data_in_place(folder: Path) -> None:
    """The README's own run needs a data set and weights of the field: the small world stands in for them."""
    assert fdbpl(folder, "world", "make", ".").returncode == 0
    (folder / "run.toml").unlink()
    assert fdbpl(folder, "init", "--preset", "tiny", "run.toml").returncode == 0
    text = (folder / "run.toml").read_text()
    for large, small in (
        ("seeds = 16 ", "seeds = 2 "),
        ("seeds = [1, 2, 3]", "seeds = [1]"),
        ("epochs = 200", "epochs = 5"),
    ):
        assert large in text
        text = text.replace(large, small)
    (folder / "run.toml").write_text(text)


def put_photos_in_place(folder: Path) -> None:
    for name in ("apple", "pear", "plum", "quince"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(6):
            noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / "photos" / name / f"{number}.jpg")


@pytest.mark.slow
def test_every_command_and_the_python_run_in_order(tmp_path: Path) -> None:
    """In an empty folder, one after another, as a reader types them."""
    put_photos_in_place(tmp_path)
    ran = 0
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program != "fdbpl":
            assert program == "make", f"the README shows {command}, which no test runs"
            continue
        answer = fdbpl(tmp_path, *arguments)
        assert answer.returncode == 0, f"{command}: {answer.stderr}"
        ran += 1
        if arguments[0] == "init" and arguments[-1] == "run.toml":
            put_small_data_in_place(tmp_path)
    assert ran >= 10
    assert (tmp_path / "run" / "report.md").exists()
    (python,) = (text for kind, text in BLOCKS if kind == "python")
    answer = subprocess.run([sys.executable, "-c", python], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "(640, 16, 32) fdbpl-tiny-teacher (3, 32)\n"
