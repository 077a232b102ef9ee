"""docs/troubleshooting.md quotes messages as the sources have them: a message that was reworded is noticed."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "troubleshooting.md").read_text()
QUOTED = re.findall(r"^\| `([^`]+)` \|", TEXT, flags=re.MULTILINE)


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a module, with … where a value is put in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def all_texts() -> tuple[str, ...]:
    files = (file for folder in ("cache_layout", "slurm", "pipeline") for file in (ROOT / folder).rglob("*.py"))
    return tuple(text for file in files for text in texts(ast.parse(file.read_text())))


def is_said(message: str) -> bool:
    return any(message.rstrip("…") in text for text in all_texts())


def test_there_are_many_messages() -> None:
    assert len(QUOTED) == len(set(QUOTED)) > 50


@pytest.mark.parametrize("message", QUOTED)
def test_the_sources_say_it(message: str) -> None:
    assert is_said(message)


def test_a_reworded_message_would_be_noticed() -> None:
    assert is_said("found no config file at …") and not is_said("found no configuration at …")
