"""Cards hold what was found, as text and never as markup."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
from PIL import Image

from fdbpl.pipeline.inspection.cards import Card, gallery, image_with_crops
from fdbpl.pipeline.inspection.crops import Crop, read_crops
from fdbpl.pipeline.inspection.extremes import image_crops
from fdbpl.pipeline.inspection.heat import heat
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.thumbnails import thumbnails


def a_crop(opened: Opened) -> Crop:
    (crop,) = read_crops(opened, np.array([5]), np.array([1]), top=2)
    return crop


def test_names_are_text_whatever_is_in_them(opened: Opened) -> None:
    bad = '<script>alert("x")</script>'
    crop = replace(a_crop(opened), path=bad, class_name=bad, teacher=((bad, 0.5),))
    card = Card(crop=crop, facts=((bad, bad),), answers=((bad, crop.teacher),))
    for page in (gallery(opened, "some", [card]), image_with_crops(opened, "some", [card], [crop])):
        assert "<script" not in page and "&lt;script&gt;alert(&#34;x&#34;)" in page


def test_a_card_tells_the_crop_and_shows_its_pixels(opened: Opened) -> None:
    crop = a_crop(opened)
    page = gallery(opened, "some", [Card(crop=crop, facts=(("KL", "1.25"),))])
    top, left, height, width = crop.box
    assert f'x="{left}" y="{top}" width="{width}" height="{height}"' in page
    assert f'viewBox="0 0 {crop.size[1]} {crop.size[0]}"' in page
    assert f"--weight: {crop.weight:.3f}" in page and "KL <b>1.25</b>" in page and f"seed <b>{crop.seed}</b>" in page
    assert ("mirrored" in page) == crop.flip
    for name, probability in crop.teacher:
        assert name in page and f">{probability:.2f}</td>" in page
    (pixels,) = re.findall(r'<img class="crop-pixels small" src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(pixels) == thumbnails(opened, [crop])[0]
    (whole,) = re.findall(r'<image href="data:image/jpeg;base64,([^"]+)"', page)
    shown = Image.open(io.BytesIO(base64.b64decode(whole)))
    assert (shown.height, shown.width) == crop.size


def test_the_class_of_the_image_is_marked_alone(opened: Opened) -> None:
    crop = replace(a_crop(opened), class_name="red circle", teacher=(("blue star", 0.6), ("red circle", 0.3)))
    page = gallery(opened, "some", [Card(crop=crop)])
    assert re.findall(r'class="own"><th scope="row">([^<]+)', page) == ["red circle"]


def test_crops_on_their_image_and_cards_point_at_each_other(opened: Opened) -> None:
    crops = image_crops(opened, 9, top=1)
    page = image_with_crops(opened, "crop", [Card(crop=crop) for crop in crops], crops)
    links = re.findall(r'<a class="crop-box" href="#(crop-\d)" id="(crop-box-\d)"', page)
    assert links == [(f"crop-{n}", f"crop-box-{n}") for n in (4, 3, 2, 1)]  # the most informative lies on top
    assert re.findall(r'<figure class="crop" id="(crop-\d)"', page) == ["crop-1", "crop-2", "crop-3", "crop-4"]
    assert page.count("data:image/jpeg") == 2  # with the rectangles, and below the heat


def test_the_heat_is_of_all_crops_however_many_are_shown(opened: Opened) -> None:
    crops = image_crops(opened, 9, top=1)
    page = image_with_crops(opened, "crop", [Card(crop=crops[0])], crops)
    assert page.count('<figure class="crop"') == 1
    assert base64.b64encode(heat(crops).png()).decode() in page
    assert heat(crops).png() != heat(crops[:1]).png()
