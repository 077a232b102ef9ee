"""The results as files: results.json, results.csv, and a plot."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from fdbpl.pipeline.whole_file import replace_file, replace_json

JSON, CSV, PLOT = "results.json", "results.csv", "rates.svg"


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """Write all three; each appears whole."""
    replace_json(folder / JSON, results)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(results["results"][0]))
    writer.writeheader()
    writer.writerows(results["results"])
    replace_file(folder / CSV, text.getvalue().encode())
    replace_file(folder / PLOT, plot(results))


def plot(results: dict[str, Any]) -> bytes:
    """Rows a second over processes, one panel for each pattern and state; both axes logarithmic. An SVG file."""
    from matplotlib.figure import Figure

    parameters = results["parameters"]
    patterns, states, processes = parameters["patterns"], parameters["states"], parameters["processes"]
    figure = Figure(figsize=(5 * len(patterns), 3.6 * len(states)), layout="constrained")
    axes = figure.subplots(len(states), len(patterns), squeeze=False, sharex=True)
    for row, state in enumerate(states):
        for column, pattern in enumerate(patterns):
            panel = axes[row][column]
            for number, reader in enumerate(results["settings"]):
                line = [
                    (one["processes"], one["rows_per_s"])
                    for one in results["results"]
                    if (one["reader"], one["pattern"], one["state"]) == (reader, pattern, state)
                ]
                width = 2.5 if reader == "fdbpl" else 1.2
                style = "--" if reader == "numpy" else "-"
                panel.plot(
                    *zip(*line, strict=True), style, marker="o", color=f"C{number}", linewidth=width, label=reader
                )
            panel.set(xscale="log", yscale="log", title=f"{pattern}, {state}", ylabel="rows / s", xlabel="processes")
            panel.set_xticks(processes, [str(count) for count in processes], minor=False)
            panel.set_xticks([], minor=True)
            panel.grid(alpha=0.3)
    axes[0][0].legend(fontsize="small")
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    return content.getvalue()
