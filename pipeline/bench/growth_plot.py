"""The costs of `fdbpl bench growth` as a plot: a panel for each axis, points beside the bound of their operations."""

import io
from typing import Any


def plot_growth(results: dict[str, Any]) -> bytes:
    """Seconds of one student's step over each axis; both scales logarithmic. An SVG file."""
    from matplotlib.figure import Figure

    rows = results["results"]
    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure = Figure(figsize=(4.2 * len(axes), 3.6), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False, sharey=True)[0], axes, strict=True):
        own = [row for row in rows if row["axis"] == axis]
        values = [row["value"] for row in own]
        panel.plot(values, [row["seconds_per_step"] for row in own], "-", marker="o", label="measured")
        panel.plot(values, [row["bound_seconds"] for row in own], "--", label="operations at the matrix rate")
        panel.set(xscale="log", yscale="log", xlabel=axis)
        panel.set_xticks(values, [str(value) for value in values])
        panel.set_xticks([], minor=True)
        panel.grid(alpha=0.3)
    figure.axes[0].set(ylabel="seconds of a student's step")
    figure.axes[0].legend(fontsize="small")
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    return content.getvalue()
