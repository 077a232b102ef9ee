"""How the program behaves in a terminal: versions, completion in a real bash, colours, and where errors come from."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BASH = """
source <(fdbpl --show-completion bash)
COMP_WORDS=({typed}"")
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_fdbpl_completion fdbpl
echo "${{COMPREPLY[@]}}"
"""


def completed(typed: str) -> set[str]:
    """What bash offers behind the words typed so far."""
    folder = Path(sys.executable).parent
    answer = subprocess.run(
        ["bash", "--norc", "-c", BASH.format(typed=typed)],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(answer.stdout.split())


@pytest.mark.skipif(not (Path(sys.executable).parent / "fdbpl").exists(), reason="the program is not installed")
def test_bash_completes_commands_options_and_their_values() -> None:
    assert completed("fdbpl te") == {"teach"}
    assert completed("fdbpl cache ver") == {"verify"}
    assert completed("fdbpl submit --gr") == {"--grow"}
    assert completed("fdbpl init --preset few") == {"few-shot"}
    assert completed("fdbpl plan run.toml --cluster ") == {"auto", "local", "slurm"}


def test_the_version_names_the_revision_of_the_code(run: Any) -> None:
    answer = run("--version")
    assert answer.returncode == 0
    assert re.fullmatch(r"fdbpl \d+\.\d+\.\d+( \([0-9a-f]{40}(-dirty)?\))?\n", answer.stdout)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    if commit.returncode == 0:
        assert commit.stdout.strip() in answer.stdout


def test_only_debug_shows_where_a_mistake_was_found(run: Any) -> None:
    plain, debug = run("plan", "none.toml"), run("plan", "none.toml", "--debug")
    assert "Traceback" not in plain.stderr and plain.returncode == 2
    assert "Traceback" in debug.stderr and "read_values" in debug.stderr
    assert debug.returncode == 1


def test_no_color_is_heeded(run: Any) -> None:
    escape = "\x1b["
    coloured = run("--help", FORCE_COLOR="1")
    assert "\x1b[1m" in coloured.stdout
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", coloured.stdout)
    plain = run("--help", FORCE_COLOR="1", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plain.stdout)
    assert escape not in run("--help").stdout
