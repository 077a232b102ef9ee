"""The program `fdbpl`: thin commands over the workflow.

People's output goes to stdout as tables, progress and messages to stderr; with --json stdout holds one JSON
object and nothing else. Heavy modules are imported by the command that needs them, so that --help is quick.
"""

import json
import signal
import sys
from typing import Annotated

import typer

from fdbpl.pipeline.commands.shared import typed
from fdbpl.pipeline.exit_codes import STOPPED, WRONG_INPUT

INTERRUPTED = 130  # what the parser makes of an interrupt

app = typer.Typer(
    name="fdbpl",
    help="Adapt CLIP by distilled prompts: the teacher runs once, every student reads its store.",
    epilog="Exit codes: 0 complete, 1 a check found something, 2 wrong input, 3 running, 4 tasks failed, "
    "75 stopped by a signal (run the same command to go on).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        from fdbpl.pipeline.versions import told_version

        typer.echo(told_version())
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="the version and the code's revision")
]
Debug = Annotated[bool, typer.Option("--debug", help="show where an error comes from; anywhere in the line")]


@app.callback()
def root(version: Version = False, debug: Debug = False) -> None:
    """For --help alone: the version is told while the line is parsed, and `main` has taken --debug out before."""


def main() -> None:
    """Run the program; turns errors of known kinds into one message and an exit code."""
    from fdbpl.pipeline.commands.register import register

    register(app)
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, prog_name="fdbpl", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # the outermost place: what is not a person's mistake is raised again
        if debug:
            raise
        code = _explain(error, "--json" in arguments)
    if code == INTERRUPTED:
        typer.echo(f"stopped; what is complete is kept. To go on: {typed()}", err=True)
        code = STOPPED
    sys.exit(code or 0)


def _explain(error: Exception, as_json: bool) -> int:
    """Print the error and give its exit code; errors that are nobody's input are raised with their traceback."""
    from fdbpl.cache_layout.errors import CacheError
    from fdbpl.pipeline.run.errors import StageFailed
    from fdbpl.slurm.errors import NotStarted, SlurmError

    if hasattr(error, "format_message"):  # the parser's own errors: an unknown flag, a missing argument
        message, code = f"{str(error.format_message()).rstrip('.')}.{_help_of(error)}", WRONG_INPUT
    elif isinstance(error, (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        # Where no command has looked before: the system's words, with the path.
        message, code = f"{error.filename}: {error.strerror} (--debug shows where it was wanted)", WRONG_INPUT
    elif isinstance(error, (ValueError, CacheError, NotStarted, SlurmError, StageFailed, PermissionError)):
        message, code = str(error), getattr(error, "exit_code", WRONG_INPUT)
    else:
        raise error
    typer.echo(f"error: {message}", err=True)
    if as_json:
        typer.echo(json.dumps({"error": message, "exit_code": code}))
    return code


def _help_of(error: Exception) -> str:
    """What tells the flags and arguments of the command that could not be parsed."""
    context = getattr(error, "ctx", None)
    return f" See `{context.command_path} --help`." if context is not None else ""


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
