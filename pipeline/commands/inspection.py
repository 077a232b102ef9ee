"""`fdbpl inspect …`: what a store says of its crops, and what students make of them, as numbers and as a page."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdbpl.pipeline.commands.inspection_tables import show_crops, show_prompts, show_store, show_student
from fdbpl.pipeline.commands.shared import CONFIG_FILE, Config, Json, Set, emit, overrides

if TYPE_CHECKING:
    from fdbpl.pipeline.config import RunConfig
    from fdbpl.pipeline.pages.page import Page
    from fdbpl.pipeline.progress import Ui

inspect_app = typer.Typer(
    help="Look into a run's store: its crops, and what students see in them.", no_args_is_help=True
)

ClassName = Annotated[str, typer.Option("--class", metavar="NAME", help="look at images of this class alone")]
Student = Annotated[str, typer.Argument(help="a trained student, as in the run's folder `students/`")]
Names = Annotated[
    str,
    typer.Option(help="classes that the answers are over: all, base, new, or a class list of the store"),
]
Limit = Annotated[int, typer.Option(min=1, help="crops of each list")]
Top = Annotated[int, typer.Option(min=1, help="likeliest classes told of each crop")]
PerImage = Annotated[int, typer.Option(min=0, help="crops of one image in a list (0: any number)")]
Images = Annotated[int, typer.Option(min=0, help="look at so many images only, drawn by --seed (0: all)")]
Seed = Annotated[int, typer.Option(min=0, help="of what is drawn")]
Out = Annotated[Path | None, typer.Option(help="page to write (default: in the run's folder, under inspect/)")]
MakePage = Annotated[bool, typer.Option("--page/--no-page", help="write the page; without it no image is read")]


@inspect_app.command()
def store(
    config: Config = CONFIG_FILE,
    class_: ClassName = "",
    names: Names = "all",
    images: Images = 0,
    seed: Seed = 0,
    out: Out = None,
    page: MakePage = True,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """How informative all crops are: weight and entropy, by a crop's area and by class."""
    from fdbpl.pipeline.inspection.distribution import distribution
    from fdbpl.pipeline.inspection.opened import open_inspection
    from fdbpl.pipeline.inspection.pages import store_page

    run, ui = _read(config, set_, json_)
    with open_inspection(run, names) as opened:
        chosen_M = opened.images(class_, most=images, seed=seed)
        with ui.bar("crops", "crops") as on_progress:
            found = distribution(opened, chosen_M, on_progress)
        result = {"store": str(run.store.path), **found.to_json()}
        _page(result, run, out, _named("store", class_), (lambda: store_page(opened, found, class_)) if page else None)
    emit(result, json_, show_store)


@inspect_app.command()
def crops(
    config: Config = CONFIG_FILE,
    class_: ClassName = "",
    names: Names = "all",
    limit: Limit = 12,
    per_image: PerImage = 1,
    top: Top = 3,
    images: Images = 0,
    seed: Seed = 0,
    out: Out = None,
    page: MakePage = True,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """The crops of which the teacher can tell the most, and the least: of the store, or of a class."""
    from fdbpl.pipeline.inspection.extremes import extremes
    from fdbpl.pipeline.inspection.opened import open_inspection
    from fdbpl.pipeline.inspection.pages import crops_page

    run, ui = _read(config, set_, json_)
    with open_inspection(run, names) as opened:
        chosen_M = opened.images(class_, most=images, seed=seed)
        with ui.bar("crops", "crops") as on_progress:
            found = extremes(opened, chosen_M, limit=limit, top=top, per_image=per_image, on_progress=on_progress)
        result = {"store": str(run.store.path), **found.to_json()}
        _page(result, run, out, _named("crops", class_), (lambda: crops_page(opened, found, class_)) if page else None)
    emit(result, json_, lambda r: show_crops(r, ("most", "least")))


@inspect_app.command()
def image(
    config: Config = CONFIG_FILE,
    image: Annotated[str, typer.Argument(help="its path as in the store, or a part of just one (default: any)")] = "",
    class_: ClassName = "",
    names: Names = "all",
    limit: Annotated[int, typer.Option(min=0, help="crops to show (0: all)")] = 0,
    top: Top = 3,
    seed: Seed = 0,
    out: Out = None,
    page: MakePage = True,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """One image with its crops, the most informative first. Without a path one is drawn by --seed."""
    from fdbpl.pipeline.inspection.extremes import image_crops
    from fdbpl.pipeline.inspection.names import drawn_image, find_image
    from fdbpl.pipeline.inspection.opened import open_inspection
    from fdbpl.pipeline.inspection.pages import image_page

    run, _ = _read(config, set_, json_)
    with open_inspection(run, names) as opened:
        paths = opened.reader.images.paths
        number = find_image(paths, image) if image else drawn_image(opened.images(class_), seed)
        found = image_crops(opened, number, top=top)
        result = {
            "store": str(run.store.path),
            "image": paths[number],
            "class": opened.class_of(number),
            "crops": [crop.to_json() for crop in found[: limit or None]],
        }
        name = f"image-{paths[number]}"
        _page(result, run, out, name, (lambda: image_page(opened, found, limit)) if page else None)
    emit(result, json_, lambda r: show_crops(r, ("crops",)))


@inspect_app.command()
def student(
    config: Config,
    student: Student,
    names: Names = "all",
    class_: ClassName = "",
    images: Images = 0,
    seed: Seed = 0,
    limit: Limit = 12,
    per_image: PerImage = 1,
    top: Top = 3,
    page: MakePage = True,
    out: Out = None,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Where the teacher and a trained student disagree."""
    from fdbpl.pipeline.inspection.disagreement import disagreement
    from fdbpl.pipeline.inspection.opened import open_inspection
    from fdbpl.pipeline.inspection.pages import student_page
    from fdbpl.pipeline.inspection.students import find_student, open_student

    run, ui = _read(config, set_, json_)
    plan = find_student(run, student)
    with open_inspection(run, names) as opened, open_student(opened, plan) as asked:
        chosen_M = opened.images(class_, most=images, seed=seed)
        with ui.bar("crops", "crops") as on_progress:
            found = disagreement(
                opened, asked, chosen_M, limit=limit, top=top, per_image=per_image, on_progress=on_progress
            )
        result = {"store": str(run.store.path), **found.to_json()}
        name = _named(f"student-{student}", class_)
        _page(result, run, out, name, (lambda: student_page(opened, found, class_)) if page else None)
    emit(result, json_, show_student)


@inspect_app.command()
def prompts(
    config: Config,
    student: Student,
    class_: Annotated[str, typer.Option("--class", metavar="NAME", help="whose prompts, and whose images")],
    names: Names = "all",
    images: Images = 0,
    limit: Limit = 12,
    top: Top = 3,
    per_image: PerImage = 1,
    seed: Seed = 0,
    out: Out = None,
    page: MakePage = True,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """The positive against the negative prompt of a class, over the crops of its images."""
    from fdbpl.pipeline.inspection.opened import open_inspection
    from fdbpl.pipeline.inspection.pages import prompts_page
    from fdbpl.pipeline.inspection.similarity import check_dual, similarity
    from fdbpl.pipeline.inspection.students import find_student, open_student
    from fdbpl.pipeline.students.plan import list_plans

    run, ui = _read(config, set_, json_)
    plan = find_student(run, student)
    check_dual(plan, list_plans(run))
    with open_inspection(run, names) as opened, open_student(opened, plan) as asked:
        chosen_M = opened.images(class_, most=images, seed=seed)
        with ui.bar("crops", "crops") as on_progress:
            found = similarity(
                opened, asked, class_, chosen_M, limit=limit, top=top, per_image=per_image, on_progress=on_progress
            )
        result = {"store": str(run.store.path), **found.to_json()}
        name = _named(f"prompts-{student}", class_)
        _page(result, run, out, name, (lambda: prompts_page(opened, found)) if page else None)
    emit(result, json_, show_prompts)


def _read(config: Path, set_: list[str] | None, json_: bool) -> "tuple[RunConfig, Ui]":
    from fdbpl.pipeline.config_file import read_config
    from fdbpl.pipeline.progress import Ui

    return read_config(config, overrides(set_, None)), Ui(quiet=json_)


def _named(what: str, class_name: str) -> str:
    """A page's name, by what it shows."""
    return f"{what}-{class_name}" if class_name else what


def _page(
    result: dict[str, Any], run: "RunConfig", out: Path | None, name: str, make: "Callable[[], Page] | None"
) -> None:
    """Make and write the page where one is wanted, and say where in the result."""
    if make is None:
        return
    from fdbpl.pipeline.pages.page import write_page
    from fdbpl.pipeline.run_folder import RunFolder

    path = out or RunFolder(run.folder).inspection(name)
    write_page(path, make())
    result["page"] = str(path)
