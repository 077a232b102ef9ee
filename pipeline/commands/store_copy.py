"""`fdbpl cache copy-to, diff, export, import`: stores copied, compared, archived and brought back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdbpl.pipeline.commands.shared import Json, emit
from fdbpl.pipeline.exit_codes import FOUND_SOMETHING

if TYPE_CHECKING:
    from fdbpl.cache_layout.disk_space import Plan
    from fdbpl.pipeline.progress import OnProgress

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="the Zarr store")]
Campaigns = Annotated[
    list[str] | None, typer.Option("--campaign", help="which campaign (may be repeated; default: all that are sealed)")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be written, and write nothing")]


def copy_to(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="the sealed store; with --remove, the copy")],
    folder: Annotated[Path | None, typer.Argument(help="on the node's own disk, or in /dev/shm")] = None,
    campaign: Campaigns = None,
    wait: Annotated[float, typer.Option(min=0, help="seconds to wait for another process that copies")] = 3600,
    remove: Annotated[bool, typer.Option("--remove", help="remove a copy that this command made")] = False,
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Copy a sealed store to a node's disk or memory, once for all its processes; prints the copy's path."""
    from fdbpl.cache_layout.staging import plan_staging, remove_copy, stage_store
    from fdbpl.pipeline.progress import Ui

    if remove:
        if folder is not None:
            raise ValueError(f"copy-to --remove: found two paths, {store} and {folder}, expected the copy's alone")
        remove_copy(store)
        emit({"removed": str(store)}, json_, lambda r: typer.echo(f"removed {r['removed']}"))
        return
    if folder is None:
        raise ValueError("copy-to: found no folder, expected where to copy to: fdbpl cache copy-to STORE FOLDER")
    plan = plan_staging(store, folder, campaigns=campaign)
    if dry_run:
        _emit_plan(plan, json_)
        return
    ui = Ui(quiet=json_)
    with _megabytes(ui, f"copying {store.name}") as on_progress:
        path = stage_store(
            store,
            folder,
            campaigns=campaign,
            on_progress=on_progress,
            on_wait=lambda line: ui.say(f"{line} (at most {wait:g} s)"),
            wait_seconds=wait,
        )
    result = {"copy": str(path), "was_there": plan.is_present, "bytes": plan.num_bytes}
    emit(result, json_, lambda r: typer.echo(r["copy"]))


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="a store")],
    b: Annotated[Path, typer.Argument(metavar="B", help="another store")],
    json_: Json = False,
) -> None:
    """Where two stores differ: manifest, images, class lists, campaigns, files. Exit code 1 where they do."""
    from fdbpl.cache_layout.store_diff import diff_stores

    found = diff_stores(a, b)
    emit({"a": str(a), "b": str(b), **found.to_json()}, json_, _show_diff)
    if not found.is_equal:
        raise typer.Exit(FOUND_SOMETHING)


def export(
    store: StorePath,
    out: Annotated[Path, typer.Argument(help="path of the archive, or with --top-k of the new store")],
    campaign: Campaigns = None,
    level: Annotated[
        int, typer.Option(min=1, max=9, help="of compression: higher is a little smaller and much slower")
    ] = 1,
    top_k: Annotated[
        int | None,
        typer.Option(help="write an ordinary store with the K largest logits of each view alone, not compressed"),
    ] = None,
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Write a sealed store as a compressed archive for keeping and sending; `import` brings it back bit for bit."""
    from fdbpl.cache_layout.archive import export_archive, plan_export
    from fdbpl.cache_layout.topk_export import export_topk, plan_topk
    from fdbpl.pipeline.progress import Ui

    ui = Ui(quiet=json_)
    if top_k is not None:
        if dry_run:
            _emit_plan(plan_topk(store, out, k=top_k, campaigns=campaign or ()), json_)
            return
        with ui.bar(f"top {top_k} of {store.name}", "views") as on_views:
            path = export_topk(store, out, k=top_k, campaigns=campaign or (), on_progress=on_views)
    else:
        if dry_run:
            _emit_plan(plan_export(store, out, campaigns=campaign, level=level), json_)
            return
        with _megabytes(ui, f"exporting {store.name}") as on_progress:
            path = export_archive(store, out, campaigns=campaign, level=level, on_progress=on_progress)
    _emit_made(path, store, json_)


def import_(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="what `fdbpl cache export` wrote")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="path of the store that is made")],
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Make a store of an archive again; every file is compared with what was recorded of it."""
    from fdbpl.cache_layout.archive import import_archive, plan_import
    from fdbpl.pipeline.progress import Ui

    if dry_run:
        _emit_plan(plan_import(archive, store), json_)
        return
    with _megabytes(Ui(quiet=json_), f"importing {archive.name}") as on_progress:
        path = import_archive(archive, store, on_progress=on_progress)
    _emit_made(path, archive, json_)


def register(app: typer.Typer) -> None:
    """Add the commands to `fdbpl cache`."""
    commands: dict[str, Callable[..., None]] = {
        "copy-to": copy_to,
        "diff": diff,
        "export": export,
        "import": import_,
    }
    for name, command in commands.items():
        app.command(name)(command)


@contextmanager
def _megabytes(ui: Any, title: str) -> "Iterator[OnProgress]":
    """A bar in MB for work that counts bytes."""
    with ui.bar(title, "MB") as on_progress:

        def on_bytes(done: int, total: int) -> None:
            total_mb = -(-total // 10**6)
            on_progress(total_mb if done >= total else done // 10**6, total_mb)

        yield on_bytes


def _emit_plan(plan: "Plan", json_: bool) -> None:
    facts = {
        "target": str(plan.target),
        "files": plan.num_files,
        "bytes": plan.num_bytes,
        "is_estimate": plan.is_estimate,
        "free_bytes": plan.free_bytes,
        "fits": plan.fits,
        "is_present": plan.is_present,
    }
    emit(facts, json_, _show_plan)


def _show_plan(facts: dict[str, Any]) -> None:
    if facts["is_present"]:
        typer.echo(f"{facts['target']}: there already, nothing to write")
        return
    about = "about " if facts["is_estimate"] else ""
    verdict = "enough" if facts["fits"] else "not enough"
    typer.echo(
        f"{facts['target']}: {about}{facts['bytes']:,} bytes in {facts['files']} shards would be written, "
        f"{facts['free_bytes']:,} are free: {verdict}"
    )


def _emit_made(path: Path, source: Path, json_: bool) -> None:
    sizes = {name: _size(folder) for name, folder in (("bytes", path), ("source_bytes", source))}

    def show(facts: dict[str, Any]) -> None:
        ratio = facts["source_bytes"] / facts["bytes"]
        typer.echo(f"{facts['path']}: {facts['bytes']:,} bytes, of {facts['source_bytes']:,} ({ratio:.2f} to 1)")

    emit({"path": str(path), **sizes}, json_, show)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _show_diff(facts: dict[str, Any]) -> None:
    if facts["equal"]:
        typer.echo("equal: manifest, images, class lists, campaigns, and the recorded content of every file")
        return
    typer.echo(f"A {facts['a']}\nB {facts['b']}")
    for gap in facts["fields"]:
        typer.echo(f"{gap['field']}: A {_short(gap, 'a')}, B {_short(gap, 'b')}")
    for kind, named in facts["images"].items():
        if named["count"]:
            typer.echo(f"images, {kind.replace('_', ' ')}: {_counted(named)}")
    for name, content in facts["content"].items():
        if content["why_not"]:
            typer.echo(f"campaign {name}: files not compared: {content['why_not']}")
            continue
        typer.echo(f"campaign {name}: {content['compared']} files compared, {content['other']['count']} differ")
        for kind in ("other", "only_a", "only_b"):
            if content[kind]["count"]:
                typer.echo(f"  {kind.replace('_', ' ')}: {_counted(content[kind])}")


def _counted(named: dict[str, Any]) -> str:
    rest = ", ..." if named["count"] > len(named["first"]) else ""
    return f"{named['count']} ({', '.join(named['first'])}{rest})"


def _short(gap: dict[str, Any], side: str, longest: int = 90) -> str:
    text = repr(gap[side]) if side in gap else "(absent)"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
