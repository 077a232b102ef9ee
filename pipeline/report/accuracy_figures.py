"""Accuracies as drawings: each seed's, base against new, and against what training costs."""

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from fdbpl.pipeline.evaluation.report import TITLES
from fdbpl.pipeline.pages.figures import figure, new_figure, side_by_side
from fdbpl.pipeline.report.cost import pass_seconds, shares
from fdbpl.pipeline.report.gathered import Gathered
from fdbpl.pipeline.report.result_tables import reference

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


def _each_seed(run: Gathered) -> Markup:
    methods = [method["method"] for method in run.results["methods"] if method["num_seeds"]]
    plot = new_figure(9.2, 0.9 + 0.42 * len(methods))
    axes = plot.subplots()
    for row, method in enumerate(methods):
        values = [student[run.measure] for student in _of(run, method)]
        axes.plot(values, [row] * len(values), "o", color=run.colour(method), alpha=0.55, markersize=6)
        axes.plot(sum(values) / len(values), row, "|", color=run.colour(method), markersize=18, markeredgewidth=2)
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
        axes.plot(base, new, "o", color=run.colour(method), label=method, markersize=6, alpha=0.8)
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
    paid = shares(run)
    every: list[float] = []
    for method in dict.fromkeys(student["method"] for student in run.results["students"]):
        own, colour = _of(run, method), run.colour(method)
        values = [student[run.measure] for student in own]
        seconds = [max(student["train_seconds"], 1e-3) for student in own]
        whole = [trained + paid.get(student["id"], 0.0) for trained, student in zip(seconds, own, strict=True)]
        every += seconds + whole
        axes.hlines(values, seconds, whole, color=colour, linewidth=0.8, alpha=0.5)
        axes.plot(whole, values, "o", color=colour, markerfacecolor="none", markersize=5)
        axes.plot(seconds, values, "o", color=colour, label=method, markersize=6, alpha=0.8)
    if max(every) > 10 * min(every):
        axes.set_xscale("log")
    axes.set_xlabel("seconds a student", fontsize=9)
    axes.set_ylabel(f"{_unit(run)}, percent", fontsize=9)
    _zero_shot_line(run, axes, across=True)
    axes.grid(linewidth=0.6)
    axes.legend(fontsize=8)
    return figure("cost", plot, _cost_caption(run), f"{_unit(run)} over seconds, of each student")


def _cost_caption(run: Gathered) -> str:
    told = f"{_unit(run)} against cost: a full dot at the seconds of a student's own training"
    passes = pass_seconds(run)
    if not passes:
        return f"{told}. The passes that made its store are not among this run's tasks."
    names = {"teach": "the teacher", "features": "the student's features"}
    made = " and ".join(f"{seconds:.1f} s for {names[name]}" for name, seconds in passes.items())
    return (
        f"{told}, a hollow one where its share of the passes is added: {made}, of tasks, paid once and shared by those "
        "that read them. Every further student makes the shares smaller."
    )


def _of(run: Gathered, method: str) -> list[dict[str, Any]]:
    return [student for student in run.results["students"] if student["method"] == method]


def _unit(run: Gathered) -> str:
    return TITLES.get(run.measure, run.measure)


def _zero_shot_line(run: Gathered, axes: "Axes", *, across: bool = False) -> None:
    start = reference(run.results)
    if start is not None:
        draw = axes.axhline if across else axes.axvline
        draw(start[run.measure], color="gray", linestyle="--", linewidth=1)
