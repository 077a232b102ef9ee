"""Scenes: determinism, ranges, geometry, and the symmetry that hides a negative."""

import hashlib
import io
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fdbpl.pipeline.datasets.synthetic import (
    COLORS,
    PALETTE,
    SHAPES,
    Scene,
    SceneSpec,
    Thing,
    render_jpeg,
    render_pixels,
    sample_scene,
    scene_generator,
)
from fdbpl.pipeline.datasets.synthetic_shapes import SIGNED_DISTANCES

SPEC = SceneSpec()
PLAIN = SceneSpec(jitter_sd=0.0, noise_sd=0.0, max_distractors=0)
DIGEST_SCRIPT = """
import hashlib
from fdbpl.pipeline.datasets.synthetic import SceneSpec, render_jpeg
_, file = render_jpeg(seed=3, name="a/b.jpg", color="red", shape="moon", style="negative", spec=SceneSpec())
print(hashlib.sha256(file).hexdigest())
"""


def _scenes(count: int) -> list[Scene]:
    return [
        sample_scene(
            scene_generator(0, str(i)),
            color=COLORS[i % 8],
            shape=SHAPES[i // 8 % 8],
            style="photo",
            spec=SPEC,
        )
        for i in range(count)
    ]


def test_a_file_is_a_function_of_seed_and_name_in_any_process() -> None:
    def make(seed: int, name: str) -> str:
        _, file = render_jpeg(seed=seed, name=name, color="red", shape="moon", style="negative", spec=SPEC)
        return hashlib.sha256(file).hexdigest()

    elsewhere = subprocess.run(
        [sys.executable, "-c", DIGEST_SCRIPT], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert make(3, "a/b.jpg") == elsewhere
    assert make(4, "a/b.jpg") != elsewhere
    assert make(3, "a/c.jpg") != elsewhere


def test_sizes_radii_and_places_are_as_specified() -> None:
    scenes = _scenes(300)
    sides = [side for scene in scenes for side in (scene.height, scene.width)]
    assert (min(sides), max(sides)) == (56, 104)
    assert any(scene.height != scene.width for scene in scenes)
    for scene in scenes:
        short, main = min(scene.height, scene.width), scene.main
        assert 0.20 <= main.radius / short <= 0.31
        assert abs(main.x - scene.width / 2) <= short / 2 - main.radius + 1e-9
        assert abs(main.y - scene.height / 2) <= short / 2 - main.radius + 1e-9
        things = (main, *scene.distractors)
        for i, thing in enumerate(scene.distractors):
            assert 0.09 <= thing.radius / short <= 0.15
            assert thing.radius <= thing.x <= scene.width - thing.radius
            assert thing.radius <= thing.y <= scene.height - thing.radius
            for other in things[: i + 1]:
                assert math.hypot(thing.x - other.x, thing.y - other.y) > thing.radius + other.radius
    assert {len(scene.distractors) for scene in scenes} == {0, 1, 2, 3}


def test_a_negative_is_the_inverted_photo() -> None:
    photo, negative = (
        render_pixels(
            scene_generator(0, "x"),
            Scene(height=60, width=70, style=style, main=_thing("red", "square"), distractors=()),
            spec=PLAIN,
        )
        for style in ("photo", "negative")
    )
    # 127.5 apart from the middle, rounded half to even: the two may miss 255 by one.
    assert np.abs(photo.astype(int) + negative.astype(int) - 255).max() <= 1


def test_the_palette_is_closed_under_inversion_so_that_pixels_do_not_tell_the_style() -> None:
    for i, color in enumerate(COLORS):
        assert PALETTE[COLORS[(i + 4) % 8]] == tuple(-channel for channel in PALETTE[color])


def test_the_middle_of_a_filled_object_has_its_color() -> None:
    scene = Scene(height=64, width=64, style="photo", main=_thing("yellow", "square"), distractors=())
    middles = [render_pixels(scene_generator(0, str(i)), scene, spec=PLAIN)[32, 32].astype(int) for i in range(40)]
    # 127.5 * 1.75 = 223 and 127.5 * .25 = 32, and textures change the brightness by 45 at most.
    for red, green, blue in middles:
        assert abs(red - 223) <= 46 and abs(green - 223) <= 46 and abs(blue - 32) <= 46
    assert [223, 223, 32] in [middle.tolist() for middle in middles]


@pytest.mark.parametrize(
    ("shape", "inside", "outside"),
    [
        ("circle", (0.0, 0.9), (0.0, 0.95)),
        ("square", (0.65, 0.65), (0.7, 0.0)),
        ("triangle", (0.0, -0.8), (0.5, -0.3)),
        ("star", (0.0, -0.95), (0.0, 0.6)),
        ("cross", (0.9, 0.25), (0.4, 0.4)),
        ("ring", (0.7, 0.0), (0.0, 0.0)),
        ("heart", (0.0, 0.8), (0.0, -0.7)),
        ("moon", (-0.6, 0.0), (0.3, 0.0)),
    ],
)
def test_outlines(shape: str, inside: tuple[float, float], outside: tuple[float, float]) -> None:
    u, v = np.asarray([inside, outside], dtype=np.float32).T
    distance = SIGNED_DISTANCES[shape](u, v)
    assert distance[0] < 0 < distance[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outline_stays_in_its_circle(shape: str) -> None:
    axis = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    u, v = np.meshgrid(axis, axis)
    covered = SIGNED_DISTANCES[shape](u, v) < 0
    assert 0.15 < covered.sum() / (np.hypot(u, v) < 1).sum() < 0.9
    assert np.hypot(u, v)[covered].max() <= 1.0


def test_files_are_jpeg_of_the_scene_s_size() -> None:
    scene, file = render_jpeg(seed=0, name="n", color="blue", shape="star", style="photo", spec=SPEC)
    image = Image.open(io.BytesIO(file))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (scene.width, scene.height))


def test_an_unknown_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"photo of a mauve star: expected .*red, yellow"):
        sample_scene(scene_generator(0, "n"), color="mauve", shape="star", style="photo", spec=SPEC)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_side": 90, "max_side": 80}, "min_side <= max_side"),
        ({"main_radius": (0.3, 0.6)}, "main_radius"),
        ({"jpeg_quality": (70, 100)}, "jpeg_quality"),
        ({"noise_sd": -1.0}, "noise_sd"),
    ],
)
def test_a_bad_spec_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneSpec(**fields)  # type: ignore[arg-type]  # wrong on purpose


def _thing(color: str, shape: str) -> Thing:
    return Thing(color=color, shape=shape, x=32.0, y=32.0, radius=16.0)
