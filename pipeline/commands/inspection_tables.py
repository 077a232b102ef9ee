"""What `fdbpl inspect …` prints: short tables, and where the page is."""

from collections.abc import Iterable, Sequence
from typing import Any

import typer


def show_store(result: dict[str, Any]) -> None:
    quantiles = ", ".join(f"{float(part):.0%} below {value:.2f}" for part, value in result["quantiles"].items())
    typer.echo(f"{result['crops']:,} crops over {result['classes']} classes: mean weight {result['mean_weight']:.3f}")
    typer.echo(f"weights: {quantiles}")
    rows = [
        (
            f"{one['area'][0]:.0%} to {one['area'][1]:.0%}",
            f"{one['crops']:,}",
            _number(one["mean_weight"]),
            _percent(one["right"]),
        )
        for one in result["by_area"]
    ]
    _table(("area of the image", "crops", "mean weight", "teacher right"), rows)
    _end(result)


def show_crops(result: dict[str, Any], lists: Sequence[str]) -> None:
    """Crops with the teacher's answer, a table for each list."""
    for name in lists:
        rows = [(*_crop(crop), _classes(crop["teacher"])) for crop in result[name]]
        _table((*_CROP, "teacher"), rows, title=_TITLES.get(name, ""))
    _end(result)


def show_student(result: dict[str, Any]) -> None:
    right = result["right"]
    typer.echo(
        f"{result['student']}: one likeliest class with the teacher on {_percent(result['same_class'])} of "
        f"{result['crops']:,} crops, mean KL {result['mean_kl']:.3f}"
    )
    if right["crops"]:
        typer.echo(f"right: teacher {_percent(right['teacher'])}, student {_percent(right['student'])}")
    for name in ("farthest", "surest"):
        rows = [
            (*_crop(crop), f"{crop['kl']:.2f}", _classes(crop["teacher"], 1), _classes(crop["student"], 1))
            for crop in result[name]
        ]
        _table((*_CROP, "KL", "teacher", "student"), rows, title=_TITLES[name])
    _end(result)


def show_prompts(result: dict[str, Any]) -> None:
    found = {name: result[name] for name in ("positive", "negative", "difference")}
    told = ", ".join(f"{name} {one['mean']:.3f} ± {one['sd']:.3f}" for name, one in found.items())
    typer.echo(f"{result['student']}, {result['class']}: {result['crops']:,} crops; {told}")
    for name in ("accepted", "rejected"):
        rows = [(*_crop(crop), f"{crop['positive']:.3f}", f"{crop['negative']:.3f}") for crop in result[name]]
        _table((*_CROP, "positive", "negative"), rows, title=_TITLES[name])
    _end(result)


_CROP = ("image", "seed", "area", "weight")
_TITLES = {
    "most": "the most informative",
    "least": "the least informative",
    "farthest": "the largest divergence",
    "surest": "different likeliest classes, by the teacher's weight",
    "accepted": "the positive prompt is nearest",
    "rejected": "the negative prompt is nearest",
}


def _crop(crop: dict[str, Any]) -> tuple[str, str, str, str]:
    return crop["image"], str(crop["seed"]), f"{crop['area']:.0%}", f"{crop['weight']:.3f}"


def _classes(classes: list[dict[str, Any]], count: int = 2) -> str:
    return ", ".join(f"{one['name']} {one['probability']:.2f}" for one in classes[:count])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.1f} %"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False, title=title, title_justify="left")
    for column in titles:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


def _end(result: dict[str, Any]) -> None:
    if "page" in result:
        typer.echo(f"page: {result['page']}")
