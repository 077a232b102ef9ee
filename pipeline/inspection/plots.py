"""Figures of what a store's crops are worth, and of how two prompts see them.

Letters: V crops, W bins of weight, A bins of area.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from fdbpl.pipeline.inspection.disagreement import NUM_WEIGHTS as NUM_TENTHS
from fdbpl.pipeline.inspection.disagreement import Disagreement
from fdbpl.pipeline.inspection.distribution import NUM_AREAS, NUM_WEIGHTS, Distribution
from fdbpl.pipeline.inspection.similarity import Similarity
from fdbpl.pipeline.pages.figures import SERIES, figure, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCENT, _SECOND = SERIES[:2]
_COLOURS = "viridis"
# Points of a scatter: more hide one another, and take room in the file.
_MOST_POINTS = 2000


def weights_figure(found: Distribution) -> Markup:
    """How often each weight occurs; the axis above tells the entropy that it stands for."""
    plot = new_figure(7.0, 3.0)
    axes = plot.subplots()
    counts_W = found.counts_AW.sum(axis=0)
    width = 1 / NUM_WEIGHTS
    axes.bar((np.arange(NUM_WEIGHTS) + 0.5) * width, counts_W / found.num_views, width, color=_ACCENT)
    axes.axvline(found.mean, color=_SECOND, linewidth=1.5)
    axes.set(xlabel="weight 1 - H/log C", ylabel="part of the crops", xlim=(0, 1))
    most = math.log(found.names)
    above = axes.secondary_xaxis(
        "top",
        functions=(
            lambda weights: (1 - np.asarray(weights, float)) * most,
            lambda entropies: 1 - np.asarray(entropies, float) / most,
        ),
    )
    above.set_xlabel("entropy H, nats")
    above.tick_params(length=0, labelsize=9)
    above.spines["top"].set_visible(False)
    return figure(
        "histogram-of-weights",
        plot,
        f"Weights of {found.num_views:,} crops. The line is their mean, {found.mean:.3f}.",
        f"Histogram of the weights of {found.num_views} crops, with mean {found.mean:.3f}",
    )


def areas_figure(found: Distribution) -> Markup:
    """The weight against the crop's area: where most crops of each area lie, and their mean."""
    plot = new_figure(7.0, 3.4)
    axes = plot.subplots()
    counts_A = found.counts_AW.sum(axis=1)
    seen_A = counts_A > 0
    middle_A = ((np.arange(NUM_AREAS) + 0.5) / NUM_AREAS)[seen_A]
    for low, high, alpha in ((0.05, 0.95, 0.18), (0.25, 0.75, 0.35)):
        ends = (found.quantiles_A(part)[seen_A] for part in (low, high))
        label = f"{round(100 * (high - low))} % of the crops"
        axes.fill_between(middle_A, *ends, color=_ACCENT, alpha=alpha, linewidth=0, label=label)
    axes.plot(middle_A, found.quantiles_A(0.5)[seen_A], color=_ACCENT, label="median")
    axes.plot(middle_A, found.sums_A[seen_A] / counts_A[seen_A], "o-", color=_SECOND, markersize=4, label="mean")
    axes.set(xlabel="part of the image's area", ylabel="weight", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower right", frameon=False)
    return figure(
        "weights-by-area",
        plot,
        "Weight against area, over crops that show about as much of their image.",
        "Median, mean and spread of the weights of crops by the part of the image that they show",
    )


def agreement_figure(found: Disagreement) -> Markup:
    """How often student and teacher have one likeliest class, by what the teacher can tell of the crop."""
    plot = new_figure(7.0, 3.0)
    axes = plot.subplots()
    counts_W, same_W = np.array(found.counts_W), np.array(found.same_W)
    seen_W = counts_W > 0
    middle_W = (np.arange(NUM_TENTHS) + 0.5) / NUM_TENTHS
    axes.bar(middle_W, counts_W / counts_W.sum(), 0.9 / NUM_TENTHS, color=_ACCENT, alpha=0.4, label="part of the crops")
    axes.plot(middle_W[seen_W], (same_W[seen_W] / counts_W[seen_W]), "o-", color=_SECOND, label="one likeliest class")
    axes.set(xlabel="the teacher's weight", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left", frameon=False)
    return figure(
        "agreement-by-weight",
        plot,
        "How often student and teacher have one likeliest class, by the teacher's weight; bars tell how many crops "
        "have such a weight.",
        "Agreement of student and teacher by the teacher's weight of a crop",
    )


def similarity_figure(found: Similarity) -> Markup:
    """Each crop by its similarity to both prompts, coloured by the teacher's weight, with histograms at the sides."""
    plot = new_figure(6.4, 5.6)
    grid = plot.add_gridspec(2, 2, width_ratios=(5, 1), height_ratios=(1, 5))
    axes = plot.add_subplot(grid[1, 0])
    above, beside = plot.add_subplot(grid[0, 0], sharex=axes), plot.add_subplot(grid[1, 1], sharey=axes)
    drawn_V = _some(len(found.positive_V))
    points = axes.scatter(
        found.positive_V[drawn_V],
        found.negative_V[drawn_V],
        c=found.weight_V[drawn_V],
        cmap=_COLOURS,
        vmin=0,
        vmax=1,
        s=14,
        alpha=0.8,
        linewidths=0,
    )
    _diagonal(axes, found)
    axes.set(xlabel="cosine with the positive prompt", ylabel="cosine with the negative prompt")
    above.hist(found.positive_V, bins=40, color=_ACCENT)
    beside.hist(found.negative_V, bins=40, color=_ACCENT, orientation="horizontal")
    for side in (above, beside):
        side.set_axis_off()
    plot.colorbar(points, ax=[axes, beside], label="the teacher's weight", location="right")
    count = len(found.positive_V)
    some = f" ({len(drawn_V):,} of them drawn)" if len(drawn_V) < count else ""
    return figure(
        "cosines",
        plot,
        f"{count:,} crops{some} of {found.class_name}. Below the dashed line the positive prompt is nearer.",
        f"Scatter of {count} crops by their cosines with the positive and the negative prompt of {found.class_name}",
    )


def _diagonal(axes: "Axes", found: Similarity) -> None:
    """Where both are alike, as far as that lies among the points; limits stay those of the points."""
    limits = axes.get_xlim(), axes.get_ylim()
    low, high = max(one[0] for one in limits), min(one[1] for one in limits)
    if low < high:
        axes.plot([low, high], [low, high], "--", color="gray", linewidth=1)
    axes.set(xlim=limits[0], ylim=limits[1])


def _some(count: int) -> Any:
    """All of so many, or `_MOST_POINTS` of them, drawn evenly: the same ones each time."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, _MOST_POINTS, replace=False))
