"""Every command that the README or a page of docs/ shows is one that the program takes, with these flags."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from fdbpl.pipeline.commands.register import register

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# What a shell does with a line before the program sees it.
SHELL = re.compile(r"\s(?:[|>]|2>|&&|;).*$")


def shown(page: Path) -> list[str]:
    """The commands of a page's console blocks, each on one line."""
    blocks = re.findall(r"```(?:console|bash|sh)\n(.*?)```", page.read_text(), flags=re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    lines = (line[2:] for line in text.splitlines() if line.startswith("$ "))
    return [part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("fdbpl ")]


def check(line: str) -> None:
    """Parse a line as the program would. Raises what the parser raises."""
    app = typer.Typer(name="fdbpl")
    app.callback()(lambda: None)
    register(app)
    command = get_command(app)
    name, *arguments = shlex.split(SHELL.sub("", line), comments=True)
    while hasattr(command, "commands"):
        assert arguments and arguments[0] in command.commands, f"{line}: no such command"
        command, (name, *arguments) = command.commands[arguments[0]], arguments
    context = command.make_context(name, [one for one in arguments if one != "--debug"], resilient_parsing=False)
    assert not context.args, f"{line}: {context.args}"


@pytest.mark.parametrize("page", [page for page in PAGES if shown(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_are_parsed(page: Path) -> None:
    for line in shown(page):
        if "--help" not in line and "--version" not in line:
            check(line)


def test_there_are_many_and_a_wrong_flag_is_noticed() -> None:
    assert sum(len(shown(page)) for page in PAGES) > 100
    with pytest.raises(Exception, match="No such option"):
        check("fdbpl plan run.toml --rates teach=1")
    with pytest.raises(AssertionError, match="no such command"):
        check("fdbpl cache look store.zarr")
