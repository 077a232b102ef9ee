"""What papers report beside what this run measured, where protocol, student, teacher and data sets are the same.

Published averages of base and new classes are over the field's eleven data sets, which no single run has:
`fdbpl protocol` shows them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fdbpl.pipeline.evaluation.published import PUBLISHED_SHOTS, published
from fdbpl.pipeline.evaluation.report import TITLES
from fdbpl.pipeline.report.gathered import Gathered
from fdbpl.pipeline.report.result_tables import Table, reference

TITLE = ("method", "column", "here", "published", "difference", "source")


def published_numbers(run: Gathered) -> list[dict[str, Any]]:
    """A row for each number that was published of a method of this run."""
    return [
        {
            "method": method,
            "column": column,
            "here": measured[column],
            "published": value,
            "difference": round(measured[column] - value, 2),
            "source": source,
        }
        for method, measured, values, source in _found(run)
        for column, value in values.items()
        if column in measured
    ]


def published_table(run: Gathered) -> Table | None:
    """None where nothing was published of the same set-up."""
    rows = [
        (
            one["method"],
            TITLES.get(one["column"], one["column"]),
            f"{one['here']:.1f}",
            f"{one['published']:.1f}",
            f"{one['difference']:+.1f}",
            one["source"],
        )
        for one in published_numbers(run)
    ]
    return (TITLE, rows) if rows else None


def _found(run: Gathered) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, float], str]]:
    """Method, its row, what was published of it, and where."""
    if not run.results:
        return
    config = run.config
    names = [data.name for data in config.evaluate.targets or (config.data,)]
    start = reference(run.results)
    rows = [] if start is None else [("student, zero-shot", start, config.student[0], "", "")]
    for row in run.results["methods"]:
        plan = next((one for one in run.plans.values() if one.method == row["method"]), None)
        if plan is not None and plan.shots == PUBLISHED_SHOTS and row["num_seeds"]:
            rows.append((row["method"], row, plan.config, plan.learner, plan.objective))
    for name, measured, student, learner, objective in rows:
        found = published(
            config.evaluate.protocol, student, learner, objective, teacher=config.teacher, data_sets=names
        )
        if found is not None:
            yield name, measured, found.values, found.source
