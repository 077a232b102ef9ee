"""Worlds on disk: layout, counts, resuming, refusal, and what crops show."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from fdbpl.pipeline.datasets.scene_facts import crop_content, read_scenes
from fdbpl.pipeline.datasets.synthetic import COLORS, SHAPES, Scene, Thing
from fdbpl.pipeline.datasets.world import World, WorldSpec, make_world
from fdbpl.pipeline.datasets.world_splits import SPLITS, class_name

SMALL = WorldSpec(train_per_class=2, val_per_class=1, test_per_class=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), spec=SMALL, seed=5)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_split_file_is_coop_s_layout_read_by_plain_json(world: World) -> None:
    split = json.loads((world.folder / "split_world.json").read_text())
    assert {part: len(rows) for part, rows in split.items()} == {"train": 64, "val": 32, "test": 32}
    assert split["train"][0] == ["red_circle/train_0000.jpg", 0, "red circle"]
    assert split["train"][2] == ["cyan_circle/train_0000.jpg", 1, "cyan circle"]
    assert split["test"][31] == ["green_moon/test_0000.jpg", 31, "green moon"]
    for rows in split.values():
        for path, label, name in rows:
            assert class_name(SPLITS["latin"][label]) == name
            assert path.startswith(name.replace(" ", "_") + "/")
            assert (world.folder / "images" / path).is_file()
    assert world.num_rendered == SMALL.num_images == 128


def halves(split: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    pairs = SPLITS[split]
    assert len(set(pairs)) == 32
    return pairs[:16], pairs[16:]


def test_latin_halves_use_every_word_twice() -> None:
    for half in halves("latin"):
        colors, shapes = zip(*half, strict=True)
        assert sorted(colors) == sorted(2 * COLORS)
        assert sorted(shapes) == sorted(2 * SHAPES)


def test_in_half_of_the_shapes_of_each_latin_half_the_two_colors_are_complements() -> None:
    for half in halves("latin"):
        places = [COLORS.index(color) for color, _ in half]
        assert [(b - a) % 8 == 4 for a, b in zip(places[::2], places[1::2], strict=True)] == [True, False] * 4


def test_grid_halves_share_no_word_and_cross_four_colors_with_four_shapes() -> None:
    base, new = ({word for pair in half for word in pair} for half in halves("grid"))
    assert base == {"red", "yellow", "green", "cyan", "circle", "square", "triangle", "star"}
    assert new == {"white", "blue", "magenta", "black", "cross", "ring", "heart", "moon"}


def test_in_each_grid_half_two_of_the_four_colors_are_complements() -> None:
    for half in halves("grid"):
        places = {COLORS.index(color) for color, _ in half}
        assert sum((place + 4) % 8 in places for place in places) == 2


def test_a_grid_world_has_the_grid_s_classes(tmp_path: Path) -> None:
    spec = WorldSpec(split="grid", train_per_class=1, val_per_class=0, test_per_class=1)
    split = json.loads(make_world(tmp_path, spec=spec, seed=5).split_file.read_text())
    assert split["train"][4] == ["red_square/train_0000.jpg", 4, "red square"]
    assert split["test"][16] == ["white_cross/test_0000.jpg", 16, "white cross"]
    assert (tmp_path / "images" / "black_moon" / "test_0000.jpg").is_file()


def test_the_marks_of_worlds_that_were_made_before_there_was_a_grid_still_fit(tmp_path: Path) -> None:
    latin = make_world(tmp_path, spec=SMALL, seed=5)
    marker = json.loads((latin.folder / "world.json").read_text())
    assert marker["digest"] == "sha256:1179f1b43f83534b4e47ff0bd9f23a3083ebccd87b0cb765cef4484184029bfe"


def test_a_world_is_a_function_of_its_spec_and_seed(world: World, tmp_path: Path) -> None:
    again = make_world(tmp_path / "again", spec=SMALL, seed=5)
    other = make_world(tmp_path / "other", spec=SMALL, seed=6)
    assert _files(again.folder) == _files(world.folder)
    assert _files(other.image_folder) != _files(world.image_folder)


def test_a_finished_world_is_left_alone(world: World) -> None:
    before = _files(world.folder)
    calls: list[tuple[int, int]] = []
    again = make_world(world.folder, spec=SMALL, seed=5, on_progress=lambda done, total: calls.append((done, total)))
    assert (again.num_rendered, calls) == (0, [])
    assert _files(world.folder) == before


class _KilledError(Exception):
    pass


def test_a_killed_world_goes_on_and_ends_the_same(world: World, tmp_path: Path) -> None:
    def die_at_50(done: int, total: int) -> None:
        assert total == 128
        if done == 50:
            raise _KilledError

    with pytest.raises(_KilledError):
        make_world(tmp_path, spec=SMALL, seed=5, on_progress=die_at_50)
    assert not (tmp_path / "split_world.json").exists()
    assert make_world(tmp_path, spec=SMALL, seed=5).num_rendered == 78
    assert _files(tmp_path) == _files(world.folder)


def test_a_folder_of_another_world_is_refused_naming_what_differs(world: World) -> None:
    larger = WorldSpec(train_per_class=3, val_per_class=1, test_per_class=1)
    with pytest.raises(ValueError, match=r"train_per_class: found 2, expected 3"):
        make_world(world.folder, spec=larger, seed=5)
    with pytest.raises(ValueError, match=r"seed: found 5, expected 9"):
        make_world(world.folder, spec=SMALL, seed=9)
    with pytest.raises(ValueError, match=r"spec.split: found None, expected grid"):
        make_world(world.folder, spec=replace(SMALL, split="grid"), seed=5)


def test_the_facts_fit_the_files(world: World) -> None:
    scenes = read_scenes(world.scenes_file)
    assert len(scenes) == 128
    for path, scene in scenes.items():
        with Image.open(world.image_folder / path) as image:
            assert image.size == (scene.width, scene.height)
        assert path.startswith(f"{scene.main.color}_{scene.main.shape}/")
        assert scene.style == "negative"


SCENE = Scene(
    height=80,
    width=100,
    style="photo",
    main=Thing(color="red", shape="circle", x=50.0, y=40.0, radius=20.0),
    distractors=(Thing(color="blue", shape="star", x=10.0, y=10.0, radius=8.0),),
)


@pytest.mark.parametrize(
    ("box", "kind", "main", "distractor"),
    [
        ((0, 0, 80, 100), "main", 1.0, 1.0),
        ((20, 30, 40, 40), "main", 1.0, 0.0),
        ((0, 50, 80, 50), "main", 0.5, 0.0),
        ((0, 0, 40, 50), "main", 0.25, 1.0),
        ((0, 0, 20, 20), "distractor", 0.0, 1.0),
        ((10, 0, 10, 100), "distractor", 0.0, 0.5),
        ((62, 0, 18, 100), "background", 0.0, 0.0),
        # A sliver of the main object, one tenth of its radius wide, is under 5 % of its area.
        ((0, 68, 80, 32), "background", 0.0187, 0.0),
    ],
)
def test_crop_content(box: tuple[int, int, int, int], kind: str, main: float, distractor: float) -> None:
    content = crop_content(SCENE, box)
    assert content.kind == kind
    assert content.main_fraction == pytest.approx(main, abs=0.003)
    assert content.distractor_fraction == pytest.approx(distractor, abs=0.003)


def test_a_bad_spec_is_refused() -> None:
    with pytest.raises(ValueError, match="style 'sketch': expected one of photo, negative"):
        WorldSpec(style="sketch")
    with pytest.raises(ValueError, match="split 'greek': expected one of latin, grid"):
        WorldSpec(split="greek")
    with pytest.raises(ValueError, match="test_per_class: expected 0 or more, found -1"):
        WorldSpec(test_per_class=-1)
