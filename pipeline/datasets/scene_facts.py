"""What the world knows of each image: `scenes.json`, and what a crop of one shows.

The facts are exact up to 0.01 px. A fraction counts the circle around an object, not its outline: the circle is
what the world places. Costs some 0.1 ms a crop.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fdbpl.pipeline.datasets.synthetic import Scene, Thing
from fdbpl.pipeline.whole_file import replace_file

Content = Literal["background", "distractor", "main"]
VISIBLE_FRACTION = 0.05
_STRIPS = 256


@dataclass(frozen=True, kw_only=True)
class CropContent:
    """What a crop shows, and the fractions of the main object's and of any distractor's circle inside it."""

    kind: Content
    main_fraction: float
    distractor_fraction: float


def crop_content(scene: Scene, box: Sequence[int]) -> CropContent:
    """Tell what the window `box` = (top, left, height, width), in pixels, shows of a scene.

    "main" when at least 5 % of the main object is inside; else "distractor" when at least 5 % of one is; else
    "background".
    """
    main = _fraction_inside(scene.main, box)
    distractor = max((_fraction_inside(thing, box) for thing in scene.distractors), default=0.0)
    kind: Content = "background"
    if main >= VISIBLE_FRACTION:
        kind = "main"
    elif distractor >= VISIBLE_FRACTION:
        kind = "distractor"
    return CropContent(kind=kind, main_fraction=main, distractor_fraction=distractor)


def write_scenes(path: Path, scenes: Mapping[str, Scene]) -> None:
    """Write the facts of each image, by its path below the image folder; replaces the file whole."""
    content = json.dumps({name: _rounded(asdict(scene)) for name, scene in scenes.items()})
    replace_file(path, content.encode())


def read_scenes(path: Path) -> dict[str, Scene]:
    """Return the facts of each image, by its path below the image folder."""
    return {name: _scene(fields) for name, fields in json.loads(path.read_text()).items()}


def _fraction_inside(thing: Thing, box: Sequence[int]) -> float:
    """Return the part of a circle's area within a window, by vertical strips."""
    top, left, height, width = box
    offset = (np.arange(_STRIPS) + 0.5) / _STRIPS * 2 - 1
    half = np.sqrt(1 - offset**2) * thing.radius
    x = thing.x + offset * thing.radius
    inside = np.minimum(thing.y + half, top + height) - np.maximum(thing.y - half, top)
    inside = np.where((x >= left) & (x < left + width), np.maximum(inside, 0), 0)
    return float(inside.sum() / (2 * half.sum()))


def _scene(fields: dict[str, Any]) -> Scene:
    return Scene(
        height=fields["height"],
        width=fields["width"],
        style=fields["style"],
        main=Thing(**fields["main"]),
        distractors=tuple(Thing(**thing) for thing in fields["distractors"]),
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
