"""The table of a protocol over all of its data sets: each method's averages, with published numbers beside them.

The harmonic mean of an average is that of the averaged base and new accuracy, as the field reports it.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fdbpl.pipeline.config import ModelConfig, Protocol
from fdbpl.pipeline.evaluation.published import PUBLISHED_SHOTS, published
from fdbpl.pipeline.protocols.suite import Suite
from fdbpl.pipeline.students.plan import list_plans


def suite_results(suite: Suite, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What a suite has reached, as JSON.

    Args:
        results: of each run that has some, by its name.

    Returns:
        `data_sets`: name -> zero-shot and method rows; `average`: a row for each method (and for hand-written prompts)
        that every data set has, with `published` where there are numbers of the same set-up; `missing`: runs without
        results.
    """
    names = [run.name for run in suite.runs]
    complete = {name: results[name] for name in names if results.get(name)}
    rows: list[dict[str, Any]] = []
    if complete:
        first = next(iter(complete.values()))
        for role in first["zero_shot"]:
            found = [one["zero_shot"].get(role) for one in complete.values()]
            rows.append(_average(suite.protocol, first["columns"], found) | {"row": role, "learned": False})
        for method in [one["method"] for one in first["methods"]]:
            found = [next((m for m in one["methods"] if m["method"] == method), None) for one in complete.values()]
            rows.append(_average(suite.protocol, first["columns"], found) | {"row": method, "learned": True})
        rows = [row | _published(suite, row, list(complete)) for row in rows if row["num_data_sets"] == len(complete)]
    return {
        "protocol": suite.protocol,
        "folder": str(suite.folder),
        "columns": list(next(iter(complete.values()))["columns"]) if complete else [],
        "data_sets": {
            name: {"zero_shot": one["zero_shot"], "methods": one["methods"]} for name, one in complete.items()
        },
        "average": rows,
        "missing": [name for name in names if name not in complete],
    }


def _average(protocol: Protocol, columns: Sequence[str], found: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """The mean of each column over those data sets that have it, and the spread over seeds, averaged likewise."""
    own = [one for one in found if one is not None and columns[0] in one]
    row: dict[str, Any] = {"num_data_sets": len(own)}
    for column in columns if own else ():
        row[column] = round(statistics.fmean(one[column] for one in own), 2)
        spreads = [one[f"{column}_sd"] for one in own if one.get(f"{column}_sd") is not None]
        row[f"{column}_sd"] = round(statistics.fmean(spreads), 2) if spreads else None
    if own and protocol == "base-to-new":
        row["hm"] = round(statistics.harmonic_mean([row["base"], row["new"]]), 2)
    return row


def _published(suite: Suite, row: dict[str, Any], data_sets: Sequence[str]) -> dict[str, Any]:
    """What was published of a row's method, where there is anything."""
    config = suite.runs[0].config
    student: ModelConfig
    if row["learned"]:
        plan = next((one for one in list_plans(config) if one.method == row["row"]), None)
        if plan is None or plan.shots != PUBLISHED_SHOTS:
            return {}
        student, learner, objective = plan.config, plan.learner, plan.objective
    elif row["row"] == "student":
        student, learner, objective = config.student[0], "", ""
    else:
        return {}
    measured = [target.name for target in config.evaluate.targets] or data_sets
    found = published(suite.protocol, student, learner, objective, teacher=config.teacher, data_sets=measured)
    return {"published": {**found.values, "source": found.source}} if found is not None else {}
