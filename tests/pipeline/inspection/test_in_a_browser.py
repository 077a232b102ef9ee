"""Pages in a real browser: they are drawn without a network and without an error, and answer to the pointer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser as browsers
import numpy as np
import pytest

from fdbpl.pipeline.inspection.distribution import distribution
from fdbpl.pipeline.inspection.extremes import extremes, image_crops
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.pages import crops_page, image_page, store_page
from fdbpl.pipeline.pages.page import write_page

PHONE, WIDE = {"width": 390, "height": 844}, {"width": 1200, "height": 900}
pytestmark = browsers.needs_browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsers.browser() as found:
        yield found


def test_pages_fit_a_phone_and_complain_of_nothing(chromium: Any, opened: Opened, tmp_path: Path) -> None:
    images_M, path = opened.images(), tmp_path / "page.html"
    for page, num_pictures in (
        (store_page(opened, distribution(opened, images_M), ""), 0),
        (crops_page(opened, extremes(opened, images_M, limit=3, top=3), ""), 6),
        (image_page(opened, image_crops(opened, 9, top=3)), 4),
    ):
        write_page(path, page)
        with browsers.opened(chromium, path, viewport=PHONE) as tab:
            assert browsers.sideways(tab) == 0
            sizes = tab.evaluate("[...document.images].map(image => [image.naturalWidth, image.width])")
            assert len(sizes) == num_pictures and all(found == 48 and drawn > 60 for found, drawn in sizes)
            boxes = [drawing.bounding_box() for drawing in tab.locator("main svg").all()]
            assert len(boxes) >= 2 and all(box["width"] > 40 and box["height"] > 40 for box in boxes)


def test_the_window_lies_on_the_image_where_the_crop_was_cut(chromium: Any, opened: Opened, tmp_path: Path) -> None:
    found = extremes(opened, opened.images(), limit=1, top=1)
    (crop,) = found.most
    write_page(tmp_path / "page.html", crops_page(opened, found, ""))
    with browsers.opened(chromium, tmp_path / "page.html", viewport=WIDE) as tab:
        whole, window = (tab.locator(f"#most-1 .crop-place {part}").bounding_box() for part in ("image", ".line"))
    line = 2.5  # pixels wide, half of them outside
    corner = [window["y"] - whole["y"] + line / 2, window["x"] - whole["x"] + line / 2]
    box = np.array([*corner, window["height"] - line, window["width"] - line])
    assert box / (whole["height"] / crop.size[0]) == pytest.approx(np.array(crop.box), abs=0.7)


def test_a_card_under_the_pointer_leaves_its_rectangle_alone(chromium: Any, opened: Opened, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", image_page(opened, image_crops(opened, 9, top=1)))
    with browsers.opened(chromium, tmp_path / "page.html", viewport=WIDE, reduced_motion="reduce") as tab:

        def visible() -> list[int]:
            opacity = "one => getComputedStyle(one).opacity"
            numbers = (1, 2, 3, 4)
            return [one for one in numbers if float(tab.locator(f"#crop-box-{one}").evaluate(opacity)) == 1]

        tab.mouse.move(0, 0)
        assert visible() == [1, 2, 3, 4]
        tab.locator("#crop-2").hover()
        assert visible() == [2]
        tab.locator("#crop-3").focus()
        tab.mouse.move(0, 0)
        assert visible() == [3]


def test_light_and_dark_differ(chromium: Any, opened: Opened, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", image_page(opened, image_crops(opened, 3, top=1)))
    inks = []
    for scheme in ("light", "dark"):
        with browsers.opened(chromium, tmp_path / "page.html", color_scheme=scheme) as tab:
            name = tab.locator(".crop-classes th").first
            inks.append(name.evaluate("one => getComputedStyle(one).color"))
    assert inks[0] != inks[1]
