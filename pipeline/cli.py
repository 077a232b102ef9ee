"""The program `fdbpl`: thin commands over the workflow.

People's output goes to stdout as tables, progress and messages to stderr; with --json stdout holds one JSON
object and nothing else. Heavy modules are imported by the command that needs them, so that --help is quick.
"""

import json
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdbpl.pipeline.exit_codes import FOUND_SOMETHING, STOPPED, WRONG_INPUT

if TYPE_CHECKING:
    from fdbpl.pipeline.run.workflow import Workflow

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


INTERRUPTED = 130  # what the parser makes of an interrupt

CONFIG_FILE = Path("fdbpl.toml")
Config = Annotated[Path, typer.Argument(help="the run's TOML file; `fdbpl init` writes one")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout and nothing else")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override one key of the config, e.g. crops.seeds=8"),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="where tasks run: auto, local or slurm (default: as the config says)",
        autocompletion=lambda: ["auto", "local", "slurm"],
    ),
]


def emit(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """The one place where a command's result is printed."""
    if as_json:
        typer.echo(json.dumps(result, indent=1))
    else:
        show(result)


@app.command()
def teach(
    config: Config = CONFIG_FILE,
    grow: Annotated[
        bool, typer.Option("--grow", help="add the images, crop seeds and class names that an existing store lacks")
    ] = False,
    set_: Set = None,
    cluster: Cluster = None,
    json_: Json = False,
) -> None:
    """Run the teacher over every crop of every training image, into the store. Only what is missing runs."""
    result = _workflow(config, set_, cluster, json_).teach(grow=grow)
    emit(
        result,
        json_,
        lambda r: typer.echo(f"{r['store']}: {r['views']} views, {r['views_computed']} computed now, sealed"),
    )


@app.command()
def features(config: Config = CONFIG_FILE, set_: Set = None, cluster: Cluster = None, json_: Json = False) -> None:
    """Compute the frozen students' features of the stored crops once, so that training touches no image."""
    result = _workflow(config, set_, cluster, json_).features()
    emit(
        result,
        json_,
        lambda r: typer.echo("\n".join(f"{name}: {n} computed now, sealed" for name, n in r["views_computed"].items())),
    )


@app.command()
def train(config: Config = CONFIG_FILE, set_: Set = None, cluster: Cluster = None, json_: Json = False) -> None:
    """Train every student of the config that is not finished."""
    result = _workflow(config, set_, cluster, json_).train()
    emit(
        result,
        json_,
        lambda r: typer.echo(f"{len(r['students'])} students, {len(r['trained'])} trained now"),
    )


@app.command()
def evaluate(
    config: Config = CONFIG_FILE,
    reject: Annotated[
        bool, typer.Option("--reject", help="measure too how images of no listed class are told from the others")
    ] = False,
    set_: Set = None,
    cluster: Cluster = None,
    json_: Json = False,
) -> None:
    """The accuracies of every student on its protocol's tests, with zero-shot rows beside them."""
    changes = [*(set_ or ()), *(["evaluate.reject=true"] if reject else [])]
    result = _workflow(config, changes, cluster, json_).evaluate()
    emit(result, json_, show_results)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="where everything of the demo is kept")] = Path("demo"),
    retrain: Annotated[
        bool, typer.Option(help="train the two tiny CLIPs anew (about 20 minutes) in place of the shipped ones")
    ] = False,
    set_: Set = None,
    cluster: Cluster = None,
    json_: Json = False,
) -> None:
    """Make a small world of JPEG files and run the whole main job on it. Run it again: it goes on, or is done."""
    from fdbpl.pipeline.demo import run_demo, show_demo
    from fdbpl.pipeline.progress import Ui

    changes = overrides(set_, cluster)
    emit(run_demo(folder, Ui(quiet=json_), command=typed(), overrides=changes, retrain=retrain), json_, show_demo)


_PRESETS = "base-to-new, few-shot, cross-dataset, domain-generalisation, methods (every learner), or tiny (on a laptop)"


def _presets() -> list[str]:
    from fdbpl.pipeline.presets.preset import PRESETS

    return list(PRESETS)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="file to write")] = CONFIG_FILE,
    preset: Annotated[str, typer.Option(help=_PRESETS, autocompletion=_presets)] = "base-to-new",
    data: Annotated[
        Path | None, typer.Option(help="your data set, e.g. a folder with a folder of images for each class")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a complete, commented config file to start from; with --data one that is ready to run."""
    from fdbpl.pipeline.presets.start import write_start

    emit(write_start(path, preset, data), json_, _show_start)


def _show_start(result: dict[str, Any]) -> None:
    typer.echo("\n".join([f"wrote {result['config']}", *result["fitted"]]))
    if result["data"] is not None:
        typer.echo(f"next: fdbpl plan {result['config']}, or fdbpl submit {result['config']} --watch")


@app.command()
def doctor(json_: Json = False) -> None:
    """What is installed, what is missing, and the command that mends it."""
    from fdbpl.pipeline.doctor import examine, show_examination

    result = examine()
    emit(result, json_, show_examination)
    if not result["healthy"]:
        raise typer.Exit(FOUND_SOMETHING)


def show_results(results: dict[str, Any]) -> None:
    from rich.console import Console

    from fdbpl.pipeline.evaluation.report import rejection_table, result_table

    console = Console()
    console.print(result_table(results))
    rejected = rejection_table(results)
    if rejected is not None:
        console.print(rejected)
    typer.echo(f"report: {results['report']}")


def _workflow(path: Path, set_: list[str] | None, cluster: str | None, json_: bool) -> "Workflow":
    from fdbpl.pipeline.config_file import read_config
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.run.workflow import Workflow
    from fdbpl.pipeline.students.checked import student_plans

    config = read_config(path, overrides(set_, cluster))
    student_plans(config)  # a senseless student is refused before any step, not after the teacher has run
    return Workflow(config, Ui(quiet=json_), command=typed())


def typed() -> str:
    """The command as it was typed, to be typed again."""
    return shlex.join(["fdbpl", *sys.argv[1:]])


def overrides(set_: list[str] | None, cluster: str | None, profile: str | None = None) -> tuple[str, ...]:
    """What flags change of the config, as key=value."""
    flags = {"cluster.kind": cluster, "cluster.profile": profile}
    return (*(set_ or ()), *(f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None))


def main() -> None:
    """Run the program; turns errors of known kinds into one message and an exit code."""
    from fdbpl.pipeline.commands.bench import bench_app
    from fdbpl.pipeline.commands.cache import cache_app
    from fdbpl.pipeline.commands.data import data_app
    from fdbpl.pipeline.commands.protocol import register as register_protocol
    from fdbpl.pipeline.commands.reproduce import reproduce_app
    from fdbpl.pipeline.commands.run import register
    from fdbpl.pipeline.commands.use import register as register_use
    from fdbpl.pipeline.commands.world import world_app

    register(app)
    register_protocol(app)
    register_use(app)
    app.add_typer(bench_app, name="bench")
    app.add_typer(cache_app, name="cache")
    app.add_typer(data_app, name="data")
    app.add_typer(reproduce_app, name="reproduce")
    app.add_typer(world_app, name="world")
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
