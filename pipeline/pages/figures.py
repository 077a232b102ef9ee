"""Figures of a page: matplotlib's as SVG inside the page, in the page's own colours, and pictures of bytes."""

import base64
import io
import re
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What stands in a drawing for the page's colours, which change with light and dark.
_INK, _LINE = "#010203", "#010204"
_PAGE_COLOURS = {_INK: "currentColor", _LINE: "var(--line)"}
# Of series: told apart by those who see fewer colours too (after Okabe and Ito), on white and on black.
SERIES = ("#2f7fd6", "#d9822b", "#1a9e77", "#c2559d", "#8a7dd8", "#a8912c", "#d0524a", "#4fa3b5")


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, which belongs to no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def figure(name: str, plot: "Figure", caption: str, alt: str) -> Markup:
    """A drawing with what is said below it. Equal drawings are equal bytes.

    Args:
        name: its place in the address, and what makes its ids its own.
        alt: what it shows, for those who cannot see it.
    """
    return Markup(
        '<figure class="drawing" id="{}"><div role="img" aria-label="{}">{}</div><figcaption>{}</figcaption></figure>'
    ).format(name, alt, Markup(_svg(name, plot)), caption)


def side_by_side(*figures: Markup) -> Markup:
    """Figures beside one another where the screen is wide enough."""
    return Markup('<div class="beside">{}</div>').format(Markup("").join(figures))


def picture(name: str, content: bytes, caption: str, alt: str) -> Markup:
    """An image as it is in a JPEG or PNG file."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Markup('<figure id="{}"><img src="{}" alt="{}"><figcaption>{}</figcaption></figure>').format(
        name, source, alt, caption
    )


def _svg(name: str, plot: "Figure") -> str:
    from matplotlib import rc_context

    _in_page_colours(plot)
    content = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        plot.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = content.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Ids of two drawings on one page must differ.
    text = re.sub(r'( id="| xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    for placeholder, colour in _PAGE_COLOURS.items():
        text = text.replace(placeholder, colour)
    return text


def _in_page_colours(plot: "Figure") -> None:
    """What was left black is the page's ink; frames and grids are its lines."""
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    for text in plot.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)  # two $ in somebody's names are no formula
    for drawn in (*plot.findobj(Text), *plot.findobj(Line2D)):
        assert isinstance(drawn, Text | Line2D)
        if to_rgba(drawn.get_color()) == (0, 0, 0, 1):
            drawn.set_color(_INK)
    for axes in plot.axes:
        for side, spine in axes.spines.items():
            spine.set_color(_LINE)
            spine.set_visible(side in ("left", "bottom"))
        axes.tick_params(which="both", color=_LINE, labelcolor=_INK, labelsize=9)
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_color(_LINE)
        axes.set_axisbelow(True)
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set_alpha(0)
            legend.get_frame().set_edgecolor("none")
