"""Scenes of coloured shapes: their specification and their renderer.

A scene has one main object, which its class names, some smaller distractors beside it and a soft background.
Its *style* says how it is drawn: a photo, or a negative with every colour inverted. Invariant: the palette, the
background, the textures and the noise are symmetric under inversion, so that no pixel tells the style; only a
caption does. A scene is a function of its generator alone. Costs about 0.6 ms, JPEG included.

Axes: H height, W width, 3 colour channels. Colours are signed, in [-1, 1], with mid-grey at 0.
"""

import hashlib
import io
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fdbpl.pipeline.datasets.synthetic_shapes import SIGNED_DISTANCES, Plane

# The complement of colour i is colour (i + 4) % 8.
PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.75, -0.75, -0.75),
    "yellow": (0.75, 0.75, -0.75),
    "green": (-0.75, 0.75, -0.75),
    "white": (0.75, 0.75, 0.75),
    "cyan": (-0.75, 0.75, 0.75),
    "blue": (-0.75, -0.75, 0.75),
    "magenta": (0.75, -0.75, 0.75),
    "black": (-0.75, -0.75, -0.75),
}
COLORS = tuple(PALETTE)
SHAPES = tuple(SIGNED_DISTANCES)
STYLES = ("photo", "negative")
_TEXTURES = ("plain", "stripes", "checks", "dots")


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """What scenes look like: ranges of sizes (pixels) and radii (of the shorter side), and the nuisances."""

    min_side: int = 56
    max_side: int = 104
    main_radius: tuple[float, float] = (0.20, 0.31)
    distractor_radius: tuple[float, float] = (0.09, 0.15)
    max_distractors: int = 3
    jitter_sd: float = 12.0
    noise_sd: float = 8.0
    jpeg_quality: tuple[int, int] = (70, 95)

    def __post_init__(self) -> None:
        if not 16 <= self.min_side <= self.max_side:
            raise ValueError(f"sides {self.min_side}..{self.max_side} px: expected 16 <= min_side <= max_side")
        for name in ("main_radius", "distractor_radius"):
            low, high = getattr(self, name)
            if not 0 < low <= high < 0.5:
                raise ValueError(f"{name} ({low}, {high}): expected 0 < low <= high < 0.5 of the shorter side")
        low, high = self.jpeg_quality
        if not 1 <= low <= high <= 95:
            raise ValueError(f"jpeg_quality ({low}, {high}): expected 1 <= low <= high <= 95")
        if self.max_distractors < 0 or self.jitter_sd < 0 or self.noise_sd < 0:
            raise ValueError("max_distractors, jitter_sd and noise_sd: expected 0 or more")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A coloured shape at (x, y) with a radius, in pixels; the outline lies inside that circle."""

    color: str
    shape: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is in an image: its size in pixels, its style, the main object and the distractors.

    Colours are those of the photo: in a negative the pixels show their complements.
    """

    height: int
    width: int
    style: str
    main: Thing
    distractors: tuple[Thing, ...]


def scene_generator(seed: int, name: str) -> np.random.Generator:
    """Return the generator of one image: a function of (seed, name) alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def sample_scene(generator: np.random.Generator, *, color: str, shape: str, style: str, spec: SceneSpec) -> Scene:
    """Draw sizes and places: the main object inside the central square, distractors anywhere beside it."""
    if color not in COLORS or shape not in SHAPES or style not in STYLES:
        raise ValueError(
            f"{style} of a {color} {shape}: expected a style of {', '.join(STYLES)}, "
            f"a color of {', '.join(COLORS)} and a shape of {', '.join(SHAPES)}"
        )
    height, width = (int(n) for n in generator.integers(spec.min_side, spec.max_side + 1, size=2))
    short = min(height, width)
    radius = short * generator.uniform(*spec.main_radius)
    # The test transform keeps the central square: the main object has to be in it.
    x, y = (side / 2 + generator.uniform(-1, 1) * (short / 2 - radius) for side in (width, height))
    main = Thing(color=color, shape=shape, x=x, y=y, radius=radius)
    things = [main]
    for _ in range(int(generator.integers(spec.max_distractors + 1))):
        other = _place_beside(generator, things, height=height, width=width, spec=spec)
        if other is not None:
            things.append(other)
    return Scene(height=height, width=width, style=style, main=main, distractors=tuple(things[1:]))


def render_pixels(generator: np.random.Generator, scene: Scene, *, spec: SceneSpec) -> NDArray[np.uint8]:
    """Draw a scene as uint8 [H, W, 3]; the generator goes on from `sample_scene`."""
    canvas_HW3 = _background(generator, scene.height, scene.width)
    for thing in (*scene.distractors, scene.main):
        _draw(generator, canvas_HW3, thing, jitter=spec.jitter_sd / 127.5)
    if scene.style == "negative":
        canvas_HW3 = -canvas_HW3
    noise_HW3 = generator.standard_normal(canvas_HW3.shape, dtype=np.float32)
    pixels_HW3 = 127.5 * (canvas_HW3 + 1) + np.float32(spec.noise_sd) * noise_HW3
    return np.clip(np.rint(pixels_HW3), 0, 255).astype(np.uint8)


def render_jpeg(*, seed: int, name: str, color: str, shape: str, style: str, spec: SceneSpec) -> tuple[Scene, bytes]:
    """Make the image `name` of the world `seed`: its scene and its JPEG file's bytes."""
    generator = scene_generator(seed, name)
    scene = sample_scene(generator, color=color, shape=shape, style=style, spec=spec)
    pixels_HW3 = render_pixels(generator, scene, spec=spec)
    low, high = spec.jpeg_quality
    file = io.BytesIO()
    Image.fromarray(pixels_HW3).save(file, "JPEG", quality=int(generator.integers(low, high + 1)))
    return scene, file.getvalue()


def _place_beside(
    generator: np.random.Generator, things: list[Thing], *, height: int, width: int, spec: SceneSpec
) -> Thing | None:
    """Find room for a distractor that touches nothing; None where twelve trials found none."""
    color, shape = str(generator.choice(COLORS)), str(generator.choice(SHAPES))
    radius = min(height, width) * generator.uniform(*spec.distractor_radius)
    for x, y in generator.random((12, 2)):
        place_x, place_y = radius + x * (width - 2 * radius), radius + y * (height - 2 * radius)
        if all(math.hypot(place_x - t.x, place_y - t.y) > radius + t.radius + 1 for t in things):
            return Thing(color=color, shape=shape, x=place_x, y=place_y, radius=radius)
    return None


def _background(generator: np.random.Generator, height: int, width: int) -> Plane:
    """A linear gradient between two muted colours in a random direction, [H, W, 3]."""
    from_3, to_3 = generator.uniform(-0.4, 0.4, size=(2, 3)).astype(np.float32)
    angle = generator.uniform(0, 2 * math.pi)
    x_W = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(math.cos(angle))
    y_H = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(math.sin(angle))
    mix_HW1 = (y_H[:, None] + x_W[None, :] + np.float32(0.5))[:, :, None]
    background_HW3: Plane = from_3 + mix_HW1 * (to_3 - from_3)
    return background_HW3


def _draw(generator: np.random.Generator, canvas_HW3: Plane, thing: Thing, *, jitter: float) -> None:
    """Blend one object into the canvas, in place, within its own square."""
    height, width, _ = canvas_HW3.shape
    top, left = max(math.floor(thing.y - thing.radius), 0), max(math.floor(thing.x - thing.radius), 0)
    bottom = min(math.ceil(thing.y + thing.radius) + 1, height)
    right = min(math.ceil(thing.x + thing.radius) + 1, width)
    dy = (np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - thing.y)) / thing.radius
    dx = (np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5 - thing.x)) / thing.radius
    angle = generator.uniform(-0.35, 0.35)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    u, v = (cos * dx + sin * dy).astype(np.float32), (cos * dy - sin * dx).astype(np.float32)
    distance = SIGNED_DISTANCES[thing.shape](u, v) * np.float32(thing.radius)
    cover_hw1 = np.clip(np.float32(0.5) - distance, 0, 1)[:, :, None]
    color_3 = np.asarray(PALETTE[thing.color], dtype=np.float32)
    color_3 = color_3 + np.float32(jitter) * generator.standard_normal(3, dtype=np.float32)
    fill_hw3 = color_3 + _texture(generator, u, v)[:, :, None]
    window = canvas_HW3[top:bottom, left:right]
    window += cover_hw1 * (fill_hw3 - window)


def _texture(generator: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Brightness added to a fill: nothing, stripes, checks or dots, light or dark with equal chance."""
    kind = _TEXTURES[int(generator.integers(len(_TEXTURES)))]
    strength = np.float32(generator.uniform(-0.35, 0.35))
    waves = np.float32(generator.uniform(5, 10))
    phase_u, phase_v = (np.float32(p) for p in generator.uniform(0, 2 * math.pi, size=2))
    product = np.sin(waves * u + phase_u) * np.sin(waves * v + phase_v)
    pattern: Plane = np.zeros_like(u)
    if kind == "stripes":
        pattern = np.sign(np.sin(waves * (u + v) + phase_u))
    elif kind == "checks":
        pattern = np.sign(product)
    elif kind == "dots":
        pattern = (np.abs(product) > 0.5).astype(np.float32)
    return (strength * pattern).astype(np.float32)
