"""Two plots of a reproduction, as SVG files: what each method reaches, and its paired difference to the reference.

Every student is a dot; the bar is the mean over students, and in the plot of differences two standard errors about it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fdbpl.pipeline.reproduce.runs import Layout
from fdbpl.pipeline.whole_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

PLOTS = ("accuracy", "differences")


def write_plots(layout: Layout, results: dict[str, Any]) -> None:
    """Write all; each appears whole."""
    rows = results["form"]["rows"]
    others = [row for row in rows if row["name"] != results["reference"]]
    label = next(row["label"] for row in rows if row["name"] == results["reference"])
    accuracy = _plot(results, rows, "HM, %", _draw_accuracy)
    differences = _plot(results, others, f"HM - {label}'s, points", _draw_difference)
    for name, content in zip(PLOTS, (accuracy, differences), strict=True):
        replace_file(layout.plot_file(name), content)


def _plot(results: dict[str, Any], rows: list[dict[str, Any]], ylabel: str, draw: Callable[..., None]) -> bytes:
    """A panel for each setting: a line of panels for each teacher and number of shots. An SVG file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lines = list(dict.fromkeys((one["teacher"], one["shots"]) for one in results["summary"]))
    columns = list(dict.fromkeys((one["split"], one["crops"]) for one in results["summary"]))
    width = max(2.6, 0.5 * len(rows) + 1.2)
    figure = Figure(figsize=(width * len(columns), 2.8 * len(lines)), layout="constrained")
    panels = figure.subplots(len(lines), len(columns), squeeze=False, sharey="row")
    for (teacher, shots), axes in zip(lines, panels, strict=True):
        for (split, crops), panel in zip(columns, axes, strict=True):
            setting = {"split": split, "crops": crops, "teacher": teacher, "shots": shots}
            for place, row in enumerate(rows):
                wanted = setting | {"row": row["name"]}
                (mean,) = _matching(results["summary"], wanted)
                draw(panel, place, _matching(results["results"], wanted), mean)
            panel.set_title(f"{split}, {crops} crops", fontsize="medium")
            panel.set_xticks(range(len(rows)), [row["label"] for row in rows], rotation=30, ha="right")
            panel.set_xlim(-0.6, len(rows) - 0.4)
            panel.grid(alpha=0.3, axis="y")
        axes[0].set_ylabel(f"{ylabel}\n({teacher} teacher, {shots} shots)", fontsize="small")
    content = io.BytesIO()
    # Without a date and random ids the same numbers give the same file.
    with rc_context({"svg.hashsalt": "fdbpl"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _draw_accuracy(panel: Axes, place: int, students: list[dict[str, Any]], mean: dict[str, Any]) -> None:
    _dots(panel, place, [one["hm"] for one in students])
    panel.plot([place - 0.3, place + 0.3], [mean["hm"]] * 2, color="black", linewidth=1.5)


def _draw_difference(panel: Axes, place: int, students: list[dict[str, Any]], mean: dict[str, Any]) -> None:
    panel.axhline(0, color="black", linewidth=0.8)
    _dots(panel, place, [one["paired_difference"] for one in students])
    error = 2 * (mean["standard_error"] or 0)
    panel.errorbar(place + 0.25, mean["paired_difference"], yerr=error, fmt="_", color="black", capsize=3)


def _dots(panel: Axes, place: int, values: list[float]) -> None:
    """Each student in its own colour, side by side, the same place in every panel."""
    for number, value in enumerate(values):
        shift = 0.3 * (number / max(1, len(values) - 1) - 0.5)
        panel.plot(place + shift, value, "o", color=f"C{number}", markersize=4)


def _matching(rows: list[dict[str, Any]], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]
