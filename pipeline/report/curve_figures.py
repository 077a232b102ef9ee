"""How losses fell: a panel for each method, with the loss and each of its terms."""

from typing import TYPE_CHECKING

from markupsafe import Markup

from fdbpl.pipeline.pages.figures import figure, new_figure
from fdbpl.pipeline.report.gathered import Gathered
from fdbpl.pipeline.report.result_tables import means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = dict[str, list[list[float]]]

_LOSS = "loss"
_NO_TERMS = ("epoch", _LOSS)
_DASHES = ("--", ":", "-.", (0, (6, 1.5)), (0, (1, 1, 4, 1)))


def learning_curves(run: Gathered) -> list[Markup]:
    """None where no student has told of its epochs."""
    curves = curves_of(run)
    if not curves:
        return []
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    plot = new_figure(9.2, 3.1 * lines)
    panels = plot.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    for panel, (method, values) in zip(panels, curves.items(), strict=False):
        _panel(panel, method, values, run.colour(method))
    terms = " Thin lines are its terms." if any(len(one) > 1 for one in curves.values()) else ""
    caption = (
        "The loss of each epoch: mean over seeds, and from the lowest to the highest."
        f"{terms} Losses of different objectives cannot be compared."
    )
    return [figure("losses", plot, caption, f"losses of {', '.join(curves)} over their epochs")]


def curves_of(run: Gathered) -> dict[str, Curves]:
    """Method -> "loss", then each term that is not the loss itself -> of each seed the value of each epoch."""
    found: dict[str, Curves] = {}
    for student, epochs in run.metrics.items():
        own = found.setdefault(run.methods[student], {_LOSS: []})
        own[_LOSS].append([epoch[_LOSS] for epoch in epochs])
        for term in epochs[0]:
            values = [epoch[term] for epoch in epochs if term in epoch]
            if term not in _NO_TERMS and values != own[_LOSS][-1]:
                own.setdefault(term, []).append(values)
    return found


def _panel(panel: "Axes", method: str, curves: Curves, colour: str) -> None:
    for number, (name, seeds) in enumerate(curves.items()):
        is_loss = name == _LOSS
        values = means(seeds)
        places = list(range(1, len(values) + 1))
        style = "-" if is_loss else _DASHES[(number - 1) % len(_DASHES)]
        width, alpha = (1.6, 0.2) if is_loss else (1.0, 0.12)
        panel.plot(places, [mean for mean, _, _ in values], color=colour, linewidth=width, linestyle=style, label=name)
        lowest, highest = ([value[at] for value in values] for at in (1, 2))
        panel.fill_between(places, lowest, highest, color=colour, alpha=alpha, linewidth=0)
    panel.set_title(method, fontsize=9, loc="left")
    panel.set_xlabel("epoch", fontsize=9)
    panel.grid(axis="y", linewidth=0.6)
    if len(curves) > 1:
        panel.legend(fontsize=7.5, loc="upper right")
