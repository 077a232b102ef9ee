"""A miniature world on disk: JPEG files of varying size and a split file in CoOp's layout.

Writes into a folder: `images/<class>/<part>_<n>.jpg`, `split_world.json` ({"train": [[path, label, class name],
...], "val": ..., "test": ...}; base classes first), `scenes.json` (what is where in each image) and, first and
last, `world.json`, the marker that says of what world this is and whether it is finished.

Invariant: the bytes of a file depend on the scenes' spec, the style, the seed and the file's own path alone;
every file is renamed into place whole. So a world that was killed goes on, and a larger one extends it.
Costs 1 ms an image on one core.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdbpl.pipeline.datasets.scene_facts import write_scenes
from fdbpl.pipeline.datasets.synthetic import (
    STYLES,
    Scene,
    SceneSpec,
    render_jpeg,
    sample_scene,
    scene_generator,
)
from fdbpl.pipeline.datasets.world_splits import SPLITS, Pair, class_name
from fdbpl.pipeline.whole_file import replace_file

FORMAT_VERSION = 1
PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """A data set: the style of its images, how its 32 classes are split into base and new ones, how many images of
    each class are in each part, and what scenes look like."""

    style: str = "negative"
    split: str = "latin"
    train_per_class: int = 20
    val_per_class: int = 4
    test_per_class: int = 50
    scenes: SceneSpec = field(default_factory=SceneSpec)

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"style {self.style!r}: expected one of {', '.join(STYLES)}")
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r}: expected one of {', '.join(SPLITS)}")
        for part in PARTS:
            if self.per_class(part) < 0:
                raise ValueError(f"{part}_per_class: expected 0 or more, found {self.per_class(part)}")

    def per_class(self, part: str) -> int:
        """Return how many images of each class a part has."""
        return int(getattr(self, f"{part}_per_class"))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Colour and shape of each class, the base half first."""
        return SPLITS[self.split]

    @property
    def num_images(self) -> int:
        return len(self.pairs) * sum(self.per_class(part) for part in PARTS)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; the split where it is not latin, the only one that there was when
        the first worlds were marked."""
        counts = {f"{part}_per_class": self.per_class(part) for part in PARTS}
        split = {} if self.split == "latin" else {"split": self.split}
        return {"style": self.style, **split, **counts, "scenes": self.scenes.to_json()}


@dataclass(frozen=True, kw_only=True)
class World:
    """Where a finished world lies, and how many images this call rendered."""

    folder: Path
    spec: WorldSpec
    seed: int
    num_rendered: int

    @property
    def image_folder(self) -> Path:
        return self.folder / "images"

    @property
    def split_file(self) -> Path:
        return self.folder / "split_world.json"

    @property
    def scenes_file(self) -> Path:
        return self.folder / "scenes.json"


def make_world(
    folder: Path,
    *,
    spec: WorldSpec,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> World:
    """Make the world of (spec, seed) in `folder`, or what is still missing of it.

    `on_progress(done, total)` counts images. Raises ValueError where the folder holds another world.
    """
    identity, marker = _identity(spec, seed), folder / "world.json"
    if _read_marker(marker, identity):
        return World(folder=folder, spec=spec, seed=seed, num_rendered=0)
    folder.mkdir(parents=True, exist_ok=True)
    _write_marker(marker, identity, complete=False)
    for color, shape in spec.pairs:
        (folder / "images" / f"{color}_{shape}").mkdir(parents=True, exist_ok=True)
    scenes: dict[str, Scene] = {}
    split: dict[str, list[tuple[str, int, str]]] = {part: [] for part in PARTS}
    num_rendered = 0
    for part, label, path in _images(spec):
        scenes[path], rendered = _ensure_image(folder / "images", path, label, spec=spec, seed=seed)
        num_rendered += rendered
        split[part].append((path, label, class_name(spec.pairs[label])))
        if on_progress is not None:
            on_progress(len(scenes), spec.num_images)
    world = World(folder=folder, spec=spec, seed=seed, num_rendered=num_rendered)
    write_scenes(world.scenes_file, scenes)
    replace_file(world.split_file, json.dumps(split).encode())
    _write_marker(marker, identity, complete=True)
    return world


def is_made(folder: Path, *, spec: WorldSpec, seed: int) -> bool:
    """Return whether `folder` holds the whole world of (spec, seed). Raises ValueError where it holds another."""
    return _read_marker(folder / "world.json", _identity(spec, seed))


def _identity(spec: WorldSpec, seed: int) -> dict[str, Any]:
    return {"format": FORMAT_VERSION, "seed": seed, "spec": spec.to_json()}


def _images(spec: WorldSpec) -> Iterator[tuple[str, int, str]]:
    """Yield (part, label, path below the image folder) in the split file's order."""
    for part in PARTS:
        for label, (color, shape) in enumerate(spec.pairs):
            for i in range(spec.per_class(part)):
                yield part, label, f"{color}_{shape}/{part}_{i:04d}.jpg"


def _ensure_image(image_folder: Path, path: str, label: int, *, spec: WorldSpec, seed: int) -> tuple[Scene, bool]:
    """Return an image's scene, and whether its file had to be rendered."""
    color, shape = spec.pairs[label]
    file = image_folder / path
    if file.exists():
        generator = scene_generator(seed, path)
        scene = sample_scene(generator, color=color, shape=shape, style=spec.style, spec=spec.scenes)
        return scene, False
    scene, content = render_jpeg(seed=seed, name=path, color=color, shape=shape, style=spec.style, spec=spec.scenes)
    replace_file(file, content)
    return scene, True


def _digest(identity: dict[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _write_marker(marker: Path, identity: dict[str, Any], *, complete: bool) -> None:
    content = identity | {"digest": _digest(identity), "complete": complete}
    replace_file(marker, (json.dumps(content, indent=1) + "\n").encode())


def _read_marker(marker: Path, identity: dict[str, Any]) -> bool:
    """Return whether the marker says that this very world is finished; refuse another world's."""
    if not marker.exists():
        return False
    found: dict[str, Any] = json.loads(marker.read_text())
    if found["digest"] != _digest(identity):
        found_values = _flat({name: found.get(name) for name in identity})
        expected = _flat(identity)
        different = [
            f"{name}: found {found_values.get(name)}, expected {expected.get(name)}"
            for name in dict.fromkeys((*expected, *found_values))
            if found_values.get(name) != expected.get(name)
        ]
        raise ValueError(
            f"{marker.parent} holds another world ({'; '.join(different)}); choose another folder or delete it"
        )
    return bool(found["complete"])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
