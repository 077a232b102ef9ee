"""Where the time went: every task over time, and what each stage's seconds were spent on."""

from markupsafe import Markup

from fdbpl.pipeline.pages.figures import SERIES, figure, new_figure
from fdbpl.pipeline.pages.page import Section
from fdbpl.pipeline.pages.tables import table
from fdbpl.pipeline.report.gathered import Gathered
from fdbpl.pipeline.report.result_tables import Table
from fdbpl.pipeline.report.timeline import PARTS, StageTime

_COLOURS = dict(zip(PARTS, ("#9aa5b1", SERIES[1], SERIES[5], SERIES[0]), strict=True))
_MEANING = (
    "queue: from its submission until a process began that could take it; start-up: until the task began there; first "
    "part: until something was told to be done (models and data are loaded, a batch or epoch is computed); work: "
    "the rest. Kept workers take several tasks, and only the first waits for a start."
)
# More bars than these would be thinner than a line.
_MOST_TASKS = 200


def time_section(run: Gathered) -> Section | None:
    """None where no task has ended."""
    if not run.stages:
        return None
    titles, rows = time_table(run)
    body = (table("time", titles, rows), _over_time(run.stages), _shares(run.stages))
    return Section(name="time", title="Where the time went", body=body, note=f"Seconds of the last attempt. {_MEANING}")


def time_table(run: Gathered) -> Table:
    """A row for each stage, and their sum."""
    rows: list[list[object]] = []
    for stage in run.stages:
        attempts = sum(task.attempt for task in stage.tasks)
        seconds = [f"{stage.parts[part]:.1f}" if stage.tells(part) else "-" for part in PARTS]
        rows.append([stage.name, len(stage.tasks), attempts, *seconds, f"{stage.span:.1f}"])
    told = {part: [stage.parts[part] for stage in run.stages if stage.tells(part)] for part in PARTS}
    sums = [f"{sum(told[part]):.1f}" if told[part] else "-" for part in PARTS]
    ended = max(task.ended for stage in run.stages for task in stage.tasks)
    began = min(task.started for stage in run.stages for task in stage.tasks)
    counts = [sum(int(str(row[column])) for row in rows) for column in (1, 2)]
    rows.append(["all", *counts, *sums, f"{ended - began:.1f}"])
    return ("stage", "tasks", "attempts", *PARTS, "first start to last end"), rows


def _over_time(stages: tuple[StageTime, ...]) -> Markup:
    origin = min(task.submitted for stage in stages for task in stage.tasks)
    tasks = [(stage, task) for stage in stages for task in stage.tasks][:_MOST_TASKS]
    plot = new_figure(9.2, min(7.0, 1.2 + 0.16 * len(tasks)))
    axes = plot.subplots()
    middles: dict[str, list[int]] = {}
    for row, (stage, task) in enumerate(tasks):
        middles.setdefault(stage.name, []).append(row)
        at = task.submitted - origin
        for part, seconds in task.parts.items():
            axes.barh(row, seconds, left=at, height=0.8, color=_COLOURS[part], alpha=0.45 if part == "queue" else 1.0)
            at += seconds
    axes.set_yticks([sum(rows) / len(rows) for rows in middles.values()], list(middles))
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    axes.set_xlabel("seconds since the first submission", fontsize=9)
    axes.grid(axis="x", linewidth=0.6)
    total = sum(len(stage.tasks) for stage in stages)
    cut = f" The first {_MOST_TASKS} of {total} tasks." if total > _MOST_TASKS else ""
    caption = f"Every task from its submission to its end, a line each.{cut}"
    return figure("tasks", plot, caption, "tasks of each stage over time")


def _shares(stages: tuple[StageTime, ...]) -> Markup:
    plot = new_figure(9.2, 1.4 + 0.36 * len(stages))
    axes = plot.subplots()
    names = [stage.name for stage in stages]
    left = [0.0] * len(stages)
    for part in PARTS:
        seconds = [stage.parts[part] for stage in stages]
        axes.barh(range(len(stages)), seconds, left=left, height=0.7, color=_COLOURS[part], label=part)
        left = [before + more for before, more in zip(left, seconds, strict=True)]
    axes.set_yticks(range(len(stages)), names)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.set_xlabel("seconds of all tasks together", fontsize=9)
    axes.grid(axis="x", linewidth=0.6)
    axes.legend(fontsize=8, ncols=len(PARTS), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure("shares", plot, "What the seconds of each stage were spent on.", "seconds of each stage by their use")
