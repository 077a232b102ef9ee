"""The steps of a run, each by itself and waited for: teach, features, train, evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import CONFIG_FILE, Cluster, Config, Json, Set, emit, overrides, typed

if TYPE_CHECKING:
    from fdbpl.pipeline.run.workflow import Workflow


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


def features(config: Config = CONFIG_FILE, set_: Set = None, cluster: Cluster = None, json_: Json = False) -> None:
    """Compute the frozen students' features of the stored crops once, so that training touches no image."""
    result = _workflow(config, set_, cluster, json_).features()
    emit(
        result,
        json_,
        lambda r: typer.echo("\n".join(f"{name}: {n} computed now, sealed" for name, n in r["views_computed"].items())),
    )


def train(config: Config = CONFIG_FILE, set_: Set = None, cluster: Cluster = None, json_: Json = False) -> None:
    """Train every student of the config that is not finished."""
    result = _workflow(config, set_, cluster, json_).train()
    emit(
        result,
        json_,
        lambda r: typer.echo(f"{len(r['students'])} students, {len(r['trained'])} trained now"),
    )


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


def show_results(results: dict[str, Any]) -> None:
    from rich.console import Console

    from fdbpl.pipeline.evaluation.report import rejection_table, result_table

    console = Console()
    console.print(result_table(results))
    rejected = rejection_table(results)
    if rejected is not None:
        console.print(rejected)
    typer.echo(f"report: {results['report']}, and as a page {results['page']}")


def _workflow(path: Path, set_: list[str] | None, cluster: str | None, json_: bool) -> "Workflow":
    from fdbpl.pipeline.config_file import read_config
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.run.workflow import Workflow
    from fdbpl.pipeline.students.checked import student_plans

    config = read_config(path, overrides(set_, cluster))
    student_plans(config)  # a senseless student is refused before any step, not after the teacher has run
    return Workflow(config, Ui(quiet=json_), command=typed())
