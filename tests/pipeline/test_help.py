"""The help of every command: where it is listed, and examples that are right."""

import shlex
from collections.abc import Iterator

import click
import pytest
import typer
from typer.main import get_command

from fdbpl.pipeline.commands.examples import EXAMPLES
from fdbpl.pipeline.commands.register import register


def whole() -> click.Group:
    app = typer.Typer(name="fdbpl")
    app.callback()(lambda: None)
    register(app)
    command = get_command(app)
    assert hasattr(command, "commands")
    return command  # type: ignore[return-value]  # typer's own Group


def leaves(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix}{name} ")  # type: ignore[arg-type]
        else:
            yield f"{prefix}{name}", command


def test_every_command_has_a_sentence_examples_and_json() -> None:
    found = dict(leaves(whole()))
    assert sorted(found) == sorted(EXAMPLES)
    for name, command in found.items():
        assert command.help and command.help[0].isupper(), name
        assert any("--json" in parameter.opts for parameter in command.params), name
        assert all(getattr(parameter, "help", None) for parameter in command.params), name
        for example in EXAMPLES[name]:
            assert example in (command.epilog or "")
            assert example.startswith(f"fdbpl {name}")


@pytest.mark.parametrize(("name", "example"), [(name, line) for name, lines in EXAMPLES.items() for line in lines])
def test_examples_are_parsed(name: str, example: str) -> None:
    command = dict(leaves(whole()))[name]
    arguments = shlex.split(example)[1 + len(name.split()) :]
    context = command.make_context(name, arguments)
    assert not context.args


def test_an_example_with_an_unknown_flag_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        dict(leaves(whole()))["plan"].make_context("plan", ["run.toml", "--rates", "teach=1"])
