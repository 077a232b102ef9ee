"""The results as tables: of methods, with what each gains over hand-written prompts, and of every student."""

import statistics
from collections.abc import Sequence
from typing import Any

from fdbpl.pipeline.evaluation.report import REJECTION_TITLES, TITLES, rejection_rows
from fdbpl.pipeline.report.gathered import Gathered

Table = tuple[Sequence[str], Sequence[Sequence[object]]]

_ROLES = {"teacher": "teacher", "teacher_labels": "teacher, as it labels", "student": "student, zero-shot"}


def result_tables(run: Gathered) -> dict[str, Table]:
    """Name -> titles and rows; only what there is."""
    if not run.results:
        return {}
    found = {"methods": _methods(run), "students": _students(run)}
    rejected = rejection_rows(run.results)
    return {**found, "rejection": (REJECTION_TITLES, rejected)} if rejected else found


def reference(results: dict[str, Any]) -> dict[str, Any] | None:
    """The row of the student's own hand-written prompt, to which learned ones are compared; None where students have
    several models."""
    found: dict[str, Any] | None = results["zero_shot"].get("student")
    return found


def sentence(run: Gathered) -> str:
    """The result in a sentence."""
    if not run.results:
        return "Nothing is evaluated yet: this page tells how far the run is."
    trained = [method for method in run.results["methods"] if method["num_seeds"]]
    if not trained:
        return "Hand-written prompts are evaluated; no student is trained yet."
    best = max(trained, key=lambda method: method[run.measure])
    start, unit = reference(run.results), TITLES.get(run.measure, run.measure)
    told = f"{best['method']} reaches {spread(best, run.measure)} % {unit}"
    if start is not None:
        told += f", {best[run.measure] - start[run.measure]:+.1f} to the zero-shot student's {start[run.measure]:.1f} %"
    rest = f"; {len(run.unfinished)} students are not finished" if run.unfinished else ""
    return f"{told} ({best['num_seeds']} seeds; the highest of {len(trained)} methods){rest}."


def spread(method: dict[str, Any], column: str) -> str:
    """Mean, and the sample standard deviation where there are several seeds."""
    sd = method[f"{column}_sd"]
    return f"{method[column]:.1f}" + ("" if sd is None else f" ± {sd:.1f}")


def _methods(run: Gathered) -> Table:
    columns, start = run.results["columns"], reference(run.results)
    heads = [TITLES.get(column, column) for column in columns]
    titles = ("method", *heads, f"Δ {heads[-1]}", "seeds", "s a student")
    rows: list[Sequence[object]] = []
    for role, row in run.results["zero_shot"].items():
        base, _, model = role.partition(" ")
        name = _ROLES.get(base, "student, at the start") + (f" ({model})" if model else "")
        rows.append((f"{name}: '{row['template']}'", *(f"{row[column]:.1f}" for column in columns), "", "", ""))
    for method in run.results["methods"]:
        if not method["num_seeds"]:
            rows.append((method["method"], *("-" for _ in columns), "", "0", ""))
            continue
        gain = "" if start is None else f"{method[run.measure] - start[run.measure]:+.1f}"
        cells = (spread(method, column) for column in columns)
        seconds = f"{method['train_seconds']:.1f}"
        rows.append((method["method"], *cells, gain, str(method["num_seeds"]), seconds))
    return titles, rows


def _students(run: Gathered) -> Table:
    columns = run.results["columns"]
    titles = ("student", *(TITLES.get(column, column) for column in columns), "epochs", "last loss", "s")
    rows = []
    for student in run.results["students"]:
        epochs = run.metrics.get(student["id"], [])
        loss = f"{epochs[-1]['loss']:.4f}" if epochs else ""
        cells = (f"{student[column]:.1f}" for column in columns)
        rows.append((student["id"], *cells, len(epochs) or "", loss, f"{student['train_seconds']:.1f}"))
    return titles, rows


def means(values: Sequence[Sequence[float]]) -> list[tuple[float, float, float]]:
    """Mean, smallest and largest of each place of sequences, as far as all go."""
    return [(statistics.fmean(column), min(column), max(column)) for column in zip(*values, strict=False)]
