"""Accuracies as drawings: each seed's, base against new, against what training costs, and how losses fell."""

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from fdbpl.pipeline.evaluation.report import TITLES
from fdbpl.pipeline.pages.figures import SERIES, figure, new_figure, side_by_side
from fdbpl.pipeline.report.gathered import Gathered
from fdbpl.pipeline.report.result_tables import means, reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def accuracy_figures(run: Gathered) -> list[Markup]:
    """What can be drawn of the finished students."""
    if not run.results or not run.results["students"]:
        return []
    small = [_against_cost(run)]
    if {"base", "new"} <= set(run.results["columns"]):
        small.insert(0, _base_against_new(run))
    return [_each_seed(run), side_by_side(*small)]


def learning_curves(run: Gathered) -> list[Markup]:
    """The loss of each method over its epochs."""
    curves: dict[str, list[list[float]]] = {}
    for student, epochs in run.metrics.items():
        curves.setdefault(run.methods[student], []).append([epoch["loss"] for epoch in epochs])
    if not curves:
        return []
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    plot = new_figure(9.2, 2.7 * lines)
    panels = plot.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    for number, (method, losses) in enumerate(curves.items()):
        panel, values, colour = panels[number], means(losses), _colour(run, method)
        places = list(range(1, len(values) + 1))
        panel.plot(places, [mean for mean, _, _ in values], color=colour, linewidth=1.6)
        lowest, highest = ([value[at] for value in values] for at in (1, 2))
        panel.fill_between(places, lowest, highest, color=colour, alpha=0.2, linewidth=0)
        panel.set_title(method, fontsize=9, loc="left")
        panel.set_xlabel("epoch", fontsize=9)
        panel.grid(axis="y", linewidth=0.6)
    caption = (
        "The loss of each epoch: mean over seeds, and from the lowest to the highest. Losses of different objectives "
        "cannot be compared."
    )
    return [figure("losses", plot, caption, f"losses of {', '.join(curves)} over their epochs")]


def _each_seed(run: Gathered) -> Markup:
    methods = [method["method"] for method in run.results["methods"] if method["num_seeds"]]
    plot = new_figure(9.2, 0.9 + 0.42 * len(methods))
    axes = plot.subplots()
    for row, method in enumerate(methods):
        values = [student[run.measure] for student in _of(run, method)]
        axes.plot(values, [row] * len(values), "o", color=_colour(run, method), alpha=0.55, markersize=6)
        axes.plot(sum(values) / len(values), row, "|", color=_colour(run, method), markersize=18, markeredgewidth=2)
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    _zero_shot_line(run, axes)
    axes.set_xlabel(f"{_unit(run)}, percent", fontsize=9)
    axes.grid(axis="x", linewidth=0.6)
    caption = f"{_unit(run)} of every student: a dot is a seed, the bar their mean; dashed, the zero-shot student."
    return figure("seeds", plot, caption, f"{_unit(run)} of each student of {', '.join(methods)}")


def _base_against_new(run: Gathered) -> Markup:
    plot = new_figure(4.8, 3.8)
    axes = plot.subplots()
    for method in dict.fromkeys(student["method"] for student in run.results["students"]):
        own = _of(run, method)
        base, new = [student["base"] for student in own], [student["new"] for student in own]
        axes.plot(base, new, "o", color=_colour(run, method), label=method, markersize=6, alpha=0.8)
    start = reference(run.results)
    if start is not None:
        axes.plot(start["base"], start["new"], "X", color="black", label="student, zero-shot", markersize=8)
    axes.set_xlabel("base classes, percent", fontsize=9)
    axes.set_ylabel("new classes, percent", fontsize=9)
    axes.grid(linewidth=0.6)
    axes.legend(fontsize=8)
    caption = "Base against new classes, a dot a student: to the right it learned what it saw, upwards it carries over."
    return figure("base-new", plot, caption, "accuracy on new classes over accuracy on base classes, of each student")


def _against_cost(run: Gathered) -> Markup:
    plot = new_figure(4.8, 3.8)
    axes = plot.subplots()
    for method in dict.fromkeys(student["method"] for student in run.results["students"]):
        own = _of(run, method)
        seconds = [max(student["train_seconds"], 1e-3) for student in own]
        axes.plot(
            seconds, [student[run.measure] for student in own], "o", color=_colour(run, method), label=method, alpha=0.8
        )
    every = [student["train_seconds"] for student in run.results["students"]]
    if max(every) > 10 * min(every):
        axes.set_xscale("log")
    axes.set_xlabel("seconds of training a student", fontsize=9)
    axes.set_ylabel(f"{_unit(run)}, percent", fontsize=9)
    _zero_shot_line(run, axes, across=True)
    axes.grid(linewidth=0.6)
    axes.legend(fontsize=8)
    passes = {stage.name: stage.parts for stage in run.stages if stage.name in ("teach", "features")}
    paid = sum(parts["first part"] + parts["work"] for parts in passes.values())
    number = len(run.results["students"])
    caption = (
        f"{_unit(run)} against the seconds that each student trained. Teacher and feature passes took {paid:.1f} s of "
        f"tasks once for all, {paid / number:.1f} s for each of {number} students, and nothing for those still to come."
    )
    return figure("cost", plot, caption, f"{_unit(run)} over seconds of training, of each student")


def _of(run: Gathered, method: str) -> list[dict[str, Any]]:
    return [student for student in run.results["students"] if student["method"] == method]


def _colour(run: Gathered, method: str) -> str:
    """The same in every drawing."""
    return SERIES[list(dict.fromkeys(run.methods.values())).index(method) % len(SERIES)]


def _unit(run: Gathered) -> str:
    return TITLES.get(run.measure, run.measure)


def _zero_shot_line(run: Gathered, axes: "Axes", *, across: bool = False) -> None:
    start = reference(run.results)
    if start is not None:
        draw = axes.axhline if across else axes.axvline
        draw(start[run.measure], color="gray", linestyle="--", linewidth=1)
