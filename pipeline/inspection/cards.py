"""Crops as cards on a page: the pixels that the teacher saw, where they lie in their image, what was said of them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from fdbpl.pipeline.inspection.crops import Crop, Likeliest
from fdbpl.pipeline.inspection.heat import heat
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.thumbnails import thumbnails, whole_images
from fdbpl.pipeline.pages.page import template

# The longest side of an image in pixels: beside a crop, and by itself.
_BESIDE, _ALONE = 200, 1000
# Of crops that are drawn on their image, the first ones: more would hide it.
_MOST_DRAWN = 24


@dataclass(frozen=True, kw_only=True)
class Card:
    """A crop with what else is said of it.

    Attributes:
        facts: short names and values.
        answers: whose likeliest classes, and these; the teacher's where nothing else is said.
    """

    crop: Crop
    facts: tuple[tuple[str, str], ...] = ()
    answers: tuple[tuple[str, Likeliest], ...] = ()


def gallery(opened: Opened, name: str, cards: Sequence[Card]) -> Markup:
    """Cards side by side, in order, each with its image beside it.

    Args:
        name: of the list, unlike that of others on the page.

    Raises:
        UnreadableImages: images that are gone or have changed.
    """
    wholes = whole_images(opened, [card.crop.image for card in cards], _BESIDE)
    beside = [_uri(wholes[card.crop.image], "jpeg") for card in cards]
    return _markup("cards.html.j2", name=name, cards=_filled(opened, cards), beside=beside)


def image_with_crops(opened: Opened, name: str, cards: Sequence[Card], crops: Sequence[Crop]) -> Markup:
    """One image with crops drawn on it, with the mean weight of all its `crops` at each spot, and the drawn ones as
    cards; rectangle and card point at each other.

    Raises:
        UnreadableImages: the image is gone or has changed.
    """
    image = cards[0].crop.image
    whole = _uri(whole_images(opened, [image], _ALONE)[image], "jpeg")
    filled = _filled(opened, cards)
    found = heat(crops)
    return _markup(
        "image.html.j2",
        name=name,
        whole=whole,
        cards=filled,
        drawn=filled[:_MOST_DRAWN],
        heat=found,
        heat_png=_uri(found.png(), "png"),
    )


def _filled(opened: Opened, cards: Sequence[Card]) -> list[dict[str, object]]:
    """What the templates take of each card."""
    cuts = thumbnails(opened, [card.crop for card in cards])
    return [
        {
            "crop": card.crop,
            "pixels": _uri(cut, "png" if _is_png(cut) else "jpeg"),
            "small": _is_png(cut),
            "facts": card.facts,
            "answers": card.answers or (("teacher", card.crop.teacher),),
        }
        for card, cut in zip(cards, cuts, strict=True)
    ]


def style() -> Markup:
    """The CSS of a page that has cards."""
    return Markup(files("fdbpl.pipeline.inspection").joinpath("cards.css").read_text())


def _is_png(content: bytes) -> bool:
    return content.startswith(b"\x89PNG")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _markup(file: str, **values: object) -> Markup:
    return Markup(template("fdbpl.pipeline.inspection", file).render(**values))  # it escapes what it is given
