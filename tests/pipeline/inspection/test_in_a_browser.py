"""A page in a real browser: it is drawn without a network and without an error, and its parts answer to the pointer."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdbpl.pipeline.inspection.crops import read_crops
from fdbpl.pipeline.inspection.distribution import distribution
from fdbpl.pipeline.inspection.extremes import extremes, image_crops
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.pages import crops_page, image_page, store_page
from fdbpl.pipeline.pages.page import Page, write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no package playwright")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def shown(browser: Any, folder: Path, page: Page, **context: Any) -> Any:
    """The page, opened from its file with the network cut; errors are collected in `complaints`."""
    write_page(folder / "page.html", page)
    tab = browser.new_context(offline=True, **context).new_page()
    tab.complaints = []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("requestfailed", lambda request: tab.complaints.append(request.url))
    tab.goto((folder / "page.html").as_uri())
    return tab


def test_pages_fit_a_phone_and_complain_of_nothing(browser: Any, opened: Opened, tmp_path: Path) -> None:
    images_M = opened.images()
    pages = (
        store_page(opened, distribution(opened, images_M), ""),
        crops_page(opened, extremes(opened, images_M, limit=3, top=3), ""),
        image_page(opened, image_crops(opened, 9, top=3)),
    )
    for page in pages:
        tab = shown(browser, tmp_path, page, viewport={"width": 390, "height": 800})
        assert tab.complaints == []
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        sizes = tab.evaluate("[...document.images].map(image => image.naturalWidth * image.width)")
        assert all(size > 48 * 40 for size in sizes)
        assert tab.locator("svg").count() >= 2
        assert all(box["height"] > 20 for box in (one.bounding_box() for one in tab.locator("main svg").all()))


def test_the_window_lies_on_the_image_where_the_crop_was_cut(browser: Any, opened: Opened, tmp_path: Path) -> None:
    found = extremes(opened, opened.images(), limit=1, top=1)
    tab = shown(browser, tmp_path, crops_page(opened, found, ""), viewport={"width": 1200, "height": 900})
    (crop,) = found.most
    whole, window = (tab.locator(f"#most-1 .crop-place {part}").bounding_box() for part in ("image", ".line"))
    scale = whole["height"] / crop.size[0]
    line = 2.5  # pixels wide, half of them outside
    corner = [window["y"] - whole["y"] + line / 2, window["x"] - whole["x"] + line / 2]
    found_box = np.array([*corner, window["height"] - line, window["width"] - line]) / scale
    assert found_box == pytest.approx(np.array(crop.box), abs=0.7)


def test_a_card_under_the_pointer_leaves_its_rectangle_alone(browser: Any, opened: Opened, tmp_path: Path) -> None:
    page = image_page(opened, image_crops(opened, 9, top=1))
    tab = shown(browser, tmp_path, page, viewport={"width": 1200, "height": 900})

    def visible() -> list[int]:
        tab.wait_for_timeout(300)
        return [
            number
            for number in (1, 2, 3, 4)
            if float(tab.locator(f"#crop-box-{number}").evaluate("one => getComputedStyle(one).opacity")) > 0.9
        ]

    tab.mouse.move(0, 0)
    assert visible() == [1, 2, 3, 4]
    tab.locator("#crop-2").hover()
    assert visible() == [2]
    tab.locator("#crop-3").focus()
    tab.mouse.move(0, 0)
    assert visible() == [3]


def test_light_and_dark_differ(browser: Any, opened: Opened, tmp_path: Path) -> None:
    (crop, *_) = read_crops(opened, np.array([3]), np.array([0]), top=1)
    page = image_page(opened, [crop])
    inks = [
        shown(browser, tmp_path, page, color_scheme=scheme)
        .locator(".crop-classes th")
        .first.evaluate("one => getComputedStyle(one).color")
        for scheme in ("light", "dark")
    ]
    assert inks[0] != inks[1]
