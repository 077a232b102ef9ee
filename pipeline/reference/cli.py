"""The reference of every command, from the program itself: what `fdbpl COMMAND --help` says, on one page."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.main import get_command

from fdbpl.pipeline.commands.examples import EXAMPLES
from fdbpl.pipeline.commands.register import GROUPS, PANELS, register
from fdbpl.pipeline.reference.markdown import code, row, table

_TYPES: Mapping[type, str] = {Path: "path", str: "text", int: "whole number", float: "number"}

HEAD = """# Commands

<!-- Made from the program by `make reference`. -->

Every command takes `--help`, `--json` and, anywhere in the line, `--debug`, which shows where an error comes from. With
`--json`, stdout holds [one JSON object](json.md) and nothing else. `fdbpl --version` tells the version and the code's
revision; `fdbpl --install-completion` completes commands, options and values in the shell.

| exit code | means |
|---|---|
| 0 | complete |
| 1 | a check found something |
| 2 | wrong input: nothing was begun |
| 3 | running |
| 4 | tasks failed |
| 75 | stopped by a signal: run the same command to go on |

In the tables, an option without a value is a flag, and *needed* is what has no default.
"""


def command_page() -> str:
    """docs/reference/cli.md."""
    app = typer.Typer(name="fdbpl")
    app.callback()(lambda: None)  # as in the program: with one, typer takes all commands for sub-commands
    register(app)
    whole: Any = get_command(app)
    parts = [HEAD]
    for panel, commands in PANELS.items():
        parts.append(f"## {panel}\n")
        for function in commands:
            name = function.__name__.replace("_", "-")
            parts.append(_command(name, whole.commands[name]))
    for group in GROUPS:
        parts.append(f"## fdbpl {group} …\n\n{whole.commands[group].help}\n")
        parts += [_command(f"{group} {name}", command) for name, command in whole.commands[group].commands.items()]
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    """A command's heading, what it does, its arguments and options, and its examples."""
    sentence = " ".join(inspect.cleandoc(command.help).split())
    lines = [f"### fdbpl {name}", "", sentence, ""]
    parameters = list(_rows(command))
    if parameters:
        lines += [*table("argument, option", "value", "default", "meaning"), *parameters, ""]
    return "\n".join([*lines, "```console", *(f"$ {example}" for example in EXAMPLES[name]), "```", ""])


def _rows(command: Any) -> Iterator[str]:
    """A row for each argument and option but --json and --help, which all have."""
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    for parameter in command.params:
        if "--json" in parameter.opts or "--help" in parameter.opts:
            continue
        is_option = parameter.opts[0].startswith("--")
        is_flag = getattr(parameter, "is_flag", False)
        names = [*parameter.opts, *parameter.secondary_opts] if is_option else [_upper(parameter)]
        value = "" if is_flag else _value(parameter, hints[parameter.name])
        yield row(", ".join(map(code, names)), value, _default(parameter, is_flag=is_flag), parameter.help)


def _upper(parameter: Any) -> str:
    return str(parameter.metavar or parameter.opts[0].upper()) + (" …" if parameter.nargs == -1 else "")


def _value(parameter: Any, hint: Any) -> str:
    """What is written behind an option or for an argument, in words."""
    value, info = get_args(hint)  # every parameter is Annotated[its type, what typer is told of it]
    words = code(parameter.metavar) if parameter.metavar and parameter.opts[0].startswith("--") else _words(value)
    bound = f", {info.min} or more" if info.min is not None else ""
    return words + bound + (", may be repeated" if parameter.multiple else "")


def _words(hint: Any) -> str:
    """A type in words; of `list[str]` and of `str | None`, that of one value."""
    inner = [one for one in get_args(hint) if one is not type(None)]
    return _words(inner[0]) if inner else _TYPES[hint]


def _default(parameter: Any, *, is_flag: bool) -> str:
    if parameter.required:
        return "*needed*"
    if is_flag or parameter.default is None or parameter.default == "":
        return ""
    return code(str(parameter.default))
