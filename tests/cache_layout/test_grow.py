"""Growing a sealed store: seeds, images, class lists, campaigns come as new files; nothing that exists changes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from grow_example import fill, value, whole
from store_example import SPECS, arguments, content, finish, make_classes, make_images

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import ManifestMismatch, MissingBlocks, ViewOutOfRange
from fdbpl.cache_layout.grow import add_campaign, add_class_list, add_images, grow_campaign
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import Store, open_store

STUDENT = ArraySpec(name="student/x/embedding", row_shape=(2,), dtype="float16")


@pytest.fixture
def grown_from(tmp_path: Path) -> Store:
    """Ten images in blocks of four, four seeds in blocks of two: sealed."""
    store = create_store(tmp_path / "store", **arguments(num_seeds=4))
    fill(store)
    return store


def unchanged(before, path, but=()):
    after = content(path)
    changed = {name for name in before if after.get(name) != before[name]}
    return changed == set(but)


METADATA = {f"{spec.name}/zarr.json" for spec in SPECS} | {"records/teacher/zarr.json"}


def test_more_seeds(grown_from):
    before = content(grown_from.path)
    early = open_reader(grown_from.path)
    store = grow_campaign(grown_from, "teacher", grown_from.grid.grown(num_seeds=8))
    assert [block.id for block in store.missing_blocks("teacher")] == ["0.2", "0.3", "1.2", "1.3", "2.2", "2.3"]
    with open_reader(store.path) as reader:
        assert whole(reader) == (10, 4), "what was sealed goes on being read while the rest is written"
    with pytest.raises(MissingBlocks, match=r"block 0\.2: no done-record"):
        seal(store.path)
    assert unchanged(before, store.path, {"records/teacher/zarr.json"})
    assert len(fill(store)) == 6
    assert unchanged(before, store.path, METADATA)
    with open_reader(store.path) as reader:
        assert whole(reader) == (10, 8)
    assert whole(early) == (10, 4)
    with pytest.raises(ViewOutOfRange, match="seed 4"):
        early.read("crop/box", [0], [4])
    assert whole(pickle.loads(pickle.dumps(early))) == (10, 4)


def test_more_images(grown_from):
    before = content(grown_from.path)
    early = open_reader(grown_from.path)
    grid = add_images(grown_from, make_images(5, first=10))
    assert add_images(grown_from, make_images(5, first=10)) == grid
    assert (grid.num_images, grid.num_rows, grid.num_image_blocks) == (15, 17, 5)
    store = grow_campaign(grown_from, "teacher", grid)
    assert fill(store) == ["3.0", "3.1", "4.0", "4.1"]
    assert unchanged(before, store.path, METADATA)
    with open_reader(store.path) as reader:
        assert whole(reader) == (15, 4)
        assert reader.images == make_images(15)
        assert reader.images.digest == make_images(15).digest
    assert whole(early) == (10, 4)
    assert early.images == make_images(10)


def test_what_plain_zarr_sees_of_a_grown_store(grown_from):
    store = grow_campaign(grown_from, "teacher", add_images(grown_from, make_images(5, first=10)))
    assert zarr.open_group(str(store.path), mode="r")["teacher/logits"].shape == (10, 4, 3), "not before it is sealed"
    fill(store)
    array = zarr.open_group(str(store.path), mode="r")["teacher/logits"][...]
    assert array.shape == (17, 4, 3)
    assert np.isnan(array[10:12]).all(), "rows between the parts are empty"
    rows = store.grid.rows(np.arange(15))
    assert rows.tolist() == [*range(10), *range(12, 17)]
    assert np.array_equal(array[rows], value(range(15), range(4), SPECS[3]))


def test_growing_in_both_ways_and_again(grown_from):
    store = grow_campaign(grown_from, "teacher", grown_from.grid.grown(num_seeds=6))
    fill(store)
    store = grow_campaign(store, "teacher", add_images(store, make_images(1, first=10)).grown(num_seeds=8))
    fill(store)
    store = grow_campaign(store, "teacher", add_images(store, make_images(9, first=11)))
    fill(store)
    assert len(store.campaign("teacher").seals) == 4
    with open_reader(store.path, check_planes=True) as reader:
        assert whole(reader) == (20, 8)


def test_a_store_grown_is_the_store_made_at_once_but_for_its_seals(grown_from, tmp_path):
    fill(grow_campaign(grown_from, "teacher", grown_from.grid.grown(num_seeds=8)))
    fill(create_store(tmp_path / "at once", **arguments(num_seeds=8)))
    left, right = content(grown_from.path), content(tmp_path / "at once")
    assert {name for name in left.keys() & right.keys() if left[name] != right[name]} == {"records/teacher/zarr.json"}
    assert not [name for name in left.keys() ^ right.keys() if "_seal-" not in name]


def test_students_follow_the_teacher(grown_from):
    store = add_campaign(grown_from, "student/x", [STUDENT], {"weights": 1})
    fill(store, "student/x")
    fill(grow_campaign(store, "teacher", add_images(store, make_images(3, first=10))))
    with open_reader(store.path) as reader:
        assert (reader.num_images, reader.shape("crop/box"), reader.shape(STUDENT.name)) == (10, (13, 4, 4), (10, 4, 2))
        with pytest.raises(ViewOutOfRange, match="image 10 at position 0"):
            reader.read(STUDENT.name, [10], [0])
    with open_reader(store.path, campaigns=["teacher"]) as reader:
        assert reader.num_images == len(reader.images) == 13
    store = grow_campaign(store, "student/x", store.campaign("teacher").grid)
    assert [block.id for block in store.missing_blocks("student/x")] == ["3.0", "3.1"]
    with open_reader(store.path) as reader:
        assert reader.num_images == 10, "what was sealed before may be read"
    assert fill(store, "student/x") == ["3.0", "3.1"]
    with open_reader(store.path) as reader:
        assert whole(reader) == (13, 4)


def test_another_class_list(grown_from):
    before = content(grown_from.path)
    later = replace(make_classes("later"), class_names=("ant", "bee", "cow"))
    store = add_class_list(grown_from, later)
    assert add_class_list(store, later).class_lists == ("base", "later")
    assert store.class_list("later").class_names == ("ant", "bee", "cow")
    assert unchanged(before, store.path)
    assert not (store.path / ".records").exists()
    with pytest.raises(ManifestMismatch, match=r"class_lists.later.class_names"):
        add_class_list(store, make_classes("later"))


@pytest.mark.parametrize(
    ("num_seeds", "message"), [(3, "expected at least the 4"), (7, "in blocks of 2, expected multiples of that")]
)
def test_seeds_that_cannot_be(grown_from, num_seeds, message):
    with pytest.raises(ValueError, match=message):
        grown_from.grid.grown(num_seeds=num_seeds)
    with pytest.raises(ValueError, match=message if num_seeds == 7 else "expected one that covers"):
        grow_campaign(grown_from, "teacher", replace(grown_from.grid, num_seeds=num_seeds))


def test_a_store_whose_last_block_is_partly_filled_takes_no_more_seeds(tmp_path):
    store = finish(tmp_path / "store")
    with pytest.raises(ValueError, match=r"found 5 to be grown to 6 in blocks of 2"):
        store.grid.grown(num_seeds=6)


def test_images_that_are_there_are_not_added_again(grown_from):
    with pytest.raises(ValueError, match=r"found 2 images to add .* \(class é/8.jpg, class é/9.jpg\)"):
        add_images(grown_from, make_images(4, first=8))


def test_a_part_that_was_never_used_is_replaced(grown_from):
    add_images(grown_from, make_images(2, first=10))
    grid = add_images(grown_from, make_images(3, first=10))
    assert open_store(grown_from.path).images_of(grid) == make_images(13)


def test_a_grid_without_its_images_is_refused(grown_from):
    with pytest.raises(Exception, match="images/1: missing"):
        grow_campaign(grown_from, "teacher", grown_from.grid.grown(new_images=4))
