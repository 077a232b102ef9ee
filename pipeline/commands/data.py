"""`fdbpl data check, known`: data sets on the disk; `data shards, list, index`: data sets as tar shards."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import Json, emit
from fdbpl.pipeline.exit_codes import FOUND_SOMETHING

if TYPE_CHECKING:
    from fdbpl.pipeline.config import DataConfig

# Written beside shards of a data set that has no split file.
SPLIT_FILE = "split.json"
data_app = typer.Typer(help="Data sets: what is known and what is missing of them, and tar shards of their images.")


@data_app.callback()
def _group() -> None:
    """Data sets: what is known and what is missing of them, and tar shards of their images."""


@data_app.command()
def check(
    target: Annotated[
        str, typer.Argument(metavar="NAME|CONFIG", help="a known data set, all, class_folders, or a run's TOML file")
    ],
    folder: Annotated[
        Path | None, typer.Argument(help="with a name: the data set's folder; with all: the folder of their folders")
    ] = None,
    json_: Json = False,
) -> None:
    """What is missing of a data set, where it is usually had from, and its sizes beside the known ones."""
    from fdbpl.pipeline.commands.data_check import run_check, show_check

    result = run_check(target, folder)
    emit(result, json_, show_check)
    if not result["complete"]:
        raise typer.Exit(FOUND_SOMETHING)


@data_app.command()
def known(json_: Json = False) -> None:
    """The data sets that are known by name: a config needs no more of them than their folder."""
    from fdbpl.pipeline.commands.data_check import known_data_sets, show_known

    emit(known_data_sets(), json_, show_known)


@data_app.command()
def shards(
    source: Annotated[Path, typer.Argument(help="a run's TOML file, or the folder of a data set")],
    out: Annotated[Path, typer.Argument(help="folder that gets train-000000.tar and so on")],
    images_per_shard: Annotated[int, typer.Option(min=1, help="images of a shard")] = 4096,
    images: Annotated[
        str, typer.Option(help="with a folder: where its images are, as `images` in a config")
    ] = "images",
    split: Annotated[
        str | None, typer.Option(help="with a folder: its split file (default: the one split_*.json there)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be written, and write nothing")] = False,
    json_: Json = False,
) -> None:
    """Copy a data set's images into tar shards, in the order of its lists. Run it again: it goes on, or is done."""
    from fdbpl.cache_layout.disk_space import free_bytes
    from fdbpl.pipeline.data.load import load_data
    from fdbpl.pipeline.data.pack import plan_shards, write_shards
    from fdbpl.pipeline.data.packed import bytes_to_write, check_made, look_at_images
    from fdbpl.pipeline.datasets.split_json import split_content
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.whole_file import replace_file

    config = _data_config(source, images, split)
    data = load_data(config)
    out = out.resolve()
    plans = plan_shards(data, out, images_per_shard)
    try:
        facts = look_at_images(data.root, plans)
        check_made(out, plans, facts)
        num_bytes, free = bytes_to_write(plans, facts), free_bytes(out)
        result = {
            "folder": str(out),
            "shards": len(plans),
            "shards_made": sum(not plan.path.exists() for plan in plans),
            "images": sum(plan.num_images for plan in plans),
            "bytes": num_bytes,
            "free_bytes": free,
            "setting": _settings(config, out),
        }
        if not dry_run:
            if num_bytes > free:
                raise ValueError(f"not enough room in {out}: {num_bytes:,} bytes are needed, {free:,} are free")
            with Ui(quiet=json_).bar(f"shards of {data.name}", "images") as on_progress:
                write_shards(data.root, plans, on_progress)
            if _is_told_by_folders(config):
                replace_file(out / SPLIT_FILE, json.dumps(split_content(data)).encode())
    except OSError as error:
        raise ValueError(f"{error.filename or out}: {error.strerror}; shards that are finished are kept") from error
    emit(result, json_, lambda r: typer.echo(_shards_text(r, dry_run=dry_run)))


@data_app.command(name="list")
def list_(
    folder: Annotated[Path, typer.Argument(help="folder of the data set, with the shards in it")],
    train: Annotated[
        str, typer.Option(help="shards of the train list, e.g. train-{000000..000099}.tar or train/*.tar")
    ],
    val: Annotated[str, typer.Option(help="shards of the val list")] = "",
    test: Annotated[str, typer.Option(help="shards of the test list")] = "",
    classes: Annotated[
        Path | None, typer.Option(help="class names, one a line; without it `class_name` of each .json is taken")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="split file to write (default: split_shards.json in FOLDER)")] = None,
    json_: Json = False,
) -> None:
    """Write the split file of shards that came without one (WebDataset: 1.jpg with 1.cls or 1.json)."""
    from fdbpl.pipeline.shards.sample_label import read_class_names
    from fdbpl.pipeline.shards.webdataset import list_shards
    from fdbpl.pipeline.whole_file import replace_file

    folder = folder.resolve()
    target = out.resolve() if out is not None else folder / "split_shards.json"
    names = read_class_names(classes) if classes is not None else None
    lists = list_shards(folder, {"train": train, "val": val, "test": test}, names)
    content = json.dumps(lists).encode()
    if target.exists() and target.read_bytes() != content:
        raise ValueError(f"found {target} with other content, expected none: remove it, or name another file by --out")
    replace_file(target, content)
    inside = target.relative_to(folder) if target.is_relative_to(folder) else target
    result = {
        "split": str(target),
        "images": {name: len(entries) for name, entries in lists.items()},
        "classes": len({label for entries in lists.values() for _, label, _ in entries}),
        "setting": f'images = "."\nsplit = {json.dumps(str(inside))}',
    }

    def show(r: dict[str, Any]) -> None:
        counts = ", ".join(f"{name} {count}" for name, count in r["images"].items())
        typer.echo(f"{r['split']}: {counts} images of {r['classes']} classes\nin the config's [data]:\n{r['setting']}")

    emit(result, json_, show)


@data_app.command()
def index(
    shards: Annotated[Path, typer.Argument(help="shards, e.g. 'data/shards/*.tar' (in quotes)")],
    json_: Json = False,
) -> None:
    """Keep each shard's list of members beside it, so that no process reads all its headers again."""
    from fdbpl.pipeline.progress import Ui
    from fdbpl.pipeline.shards.index import has_index, write_index
    from fdbpl.pipeline.shards.names import find_shards

    made = 0
    try:
        found = find_shards(shards)
        with Ui(quiet=json_).bar("index", "shards") as on_progress:
            for number, shard in enumerate(found, 1):
                if not has_index(shard):
                    write_index(shard)
                    made += 1
                on_progress(number, len(found))
    except OSError as error:
        raise ValueError(str(error)) from error
    emit(
        {"shards": len(found), "made": made}, json_, lambda r: typer.echo(f"{r['shards']} shards, {r['made']} read now")
    )


def _data_config(source: Path, images: str, split: str | None) -> "DataConfig":
    from fdbpl.pipeline.config import DataConfig
    from fdbpl.pipeline.config_file import read_config
    from fdbpl.pipeline.data.defaults import with_defaults

    if not source.is_dir():
        return read_config(source).data
    if split is None:
        found = sorted(path.name for path in source.glob("split_*.json"))
        if len(found) != 1:
            raise ValueError(f"found {found or 'no split_*.json'} in {source}, expected one: name it by --split")
        split = found[0]
    name = source.resolve().name
    return with_defaults(DataConfig(name=name, folder=source, layout="split_json", images=images, split=split))


def _is_told_by_folders(config: "DataConfig") -> bool:
    """Whether its shards need a split file beside them: they have no folders to tell the classes."""
    from fdbpl.pipeline.datasets.layouts import reader_of

    return reader_of(config.layout).lists_folders


def _settings(config: "DataConfig", out: Path) -> str:
    folder = config.folder.resolve()
    place = out.relative_to(folder) if out.is_relative_to(folder) else out
    lines = [f"images = {json.dumps(str(place / '*.tar'))}"]
    if _is_told_by_folders(config):
        lines += ['layout = "split_json"', f"split = {json.dumps(str(place / SPLIT_FILE))}"]
    return "\n".join(lines)


def _shards_text(result: dict[str, Any], *, dry_run: bool) -> str:
    made, shards = result["shards_made"], result["shards"]
    if dry_run:
        verdict = "enough" if result["bytes"] <= result["free_bytes"] else "not enough"
        return (
            f"{result['folder']}: {made} of {shards} shards with about {result['bytes']:,} bytes would be written, "
            f"{result['free_bytes']:,} are free: {verdict}"
        )
    return (
        f"{result['folder']}: {result['images']} images in {shards} shards, {made} made now\n"
        f"in the config's [data]:\n{result['setting']}"
    )
