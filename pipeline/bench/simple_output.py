"""Results that are a list of rows: as a table, and as files (JSON, CSV, a plot)."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from fdbpl.pipeline.whole_file import replace_file, replace_json


def simple_table(results: dict[str, Any]) -> Table:
    """A line for each result, a column for each of its keys."""
    table = Table(box=SIMPLE, pad_edge=False)
    for key, value in results["results"][0].items():
        table.add_column(key.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in results["results"]:
        table.add_row(*(f"{value:,}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


def write_rows(folder: Path, results: dict[str, Any]) -> None:
    """Write results.json and results.csv; each appears whole."""
    rows = results["results"]
    replace_json(folder / "results.json", results)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    replace_file(folder / "results.csv", text.getvalue().encode())


def write_simple(folder: Path, results: dict[str, Any], *, value: str, names: Sequence[str]) -> None:
    """Write results.json, results.csv and rates.svg, a plot of bars; each appears whole.

    Args:
        value: the key that is drawn.
        names: the keys that say which result it is.
    """
    from matplotlib.figure import Figure

    rows = results["results"]
    write_rows(folder, results)
    figure = Figure(figsize=(8, 0.6 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh([", ".join(str(row[name]) for name in names) for row in rows], [row[value] for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel=value.replace("_", " "))
    axes.grid(axis="x", alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    replace_file(folder / "rates.svg", content.getvalue())
