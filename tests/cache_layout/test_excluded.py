"""Files that were left out of a store: listed in the part of the image index that was made then, and guarded by it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from grow_example import fill, whole
from store_example import arguments, make_images

from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import DamagedFile
from fdbpl.cache_layout.grow import add_images, grow_campaign
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.staging import stage_store
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.cache_layout.verify import verify

BAD = (("ä/cut.jpg", "truncated"), ("no\udc80name.jpg", "not an image of a known kind"))
NO_IMAGES = ImageIndex(
    paths=(),
    sizes_N2=np.zeros((0, 2), np.int32),
    digests_N32=np.zeros((0, 32), np.uint8),
    labels_N=np.zeros(0, np.int32),
    excluded=(("later.jpg", "the file is empty"),),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten images in blocks of four, and two that were left out: sealed."""
    made = create_store(tmp_path / "store", **arguments(num_seeds=4, images=replace(make_images(), excluded=BAD)))
    fill(made)
    return open_store(made.path)


def test_what_is_excluded_is_told_and_has_no_number(store):
    assert store.images.excluded == BAD
    assert len(store.images) == 10 and store.images.numbers_of(["ä/cut.jpg"]).tolist() == [-1]
    with open_reader(store.path) as reader:
        assert reader.images.excluded == BAD
    assert verify(store.path, unit_norm=False).is_sound


def test_the_digest_covers_it_and_is_the_old_one_without():
    images = make_images()
    others = [replace(images, excluded=BAD[:n]) for n in (0, 1, 2)] + [replace(images, excluded=(("ä/cut.jpg", "x"),))]
    assert others[0].digest == images.digest
    assert len({other.digest for other in others}) == 4


@pytest.mark.parametrize("change", [lambda bad: bad[:1], lambda bad: [[bad[0][0], "other"], bad[1]], lambda bad: 7])
def test_a_changed_list_is_noticed(store, change):
    file = store.path / "images/0/zarr.json"
    document = json.loads(file.read_text(errors="surrogatepass"))
    fields = document["attributes"]["fdbpl_images"]
    fields["excluded"] = change(fields["excluded"])
    file.chmod(0o644)
    file.write_bytes(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    with pytest.raises(DamagedFile, match="images/0"):
        _ = open_store(store.path).images
    assert not verify(store.path, unit_norm=False).is_sound


def test_growing_adds_to_the_list(store):
    more = replace(make_images(13), excluded=(("later.jpg", "the file is empty"),))
    more = ImageIndex(
        paths=more.paths[10:],
        sizes_N2=more.sizes_N2[10:],
        digests_N32=more.digests_N32[10:],
        labels_N=more.labels_N[10:],
        excluded=more.excluded,
    )
    grown = grow_campaign(store, "teacher", add_images(store, more))
    fill(grown)
    assert open_store(store.path).images.excluded == (*BAD, *more.excluded)
    with open_reader(store.path) as reader:
        assert whole(reader) == (13, 4)


def test_a_part_of_excluded_files_alone(store, tmp_path):
    """Nothing that was to be added can be read: that is kept too, and the store grows on after it."""
    grown = grow_campaign(store, "teacher", add_images(store, NO_IMAGES))
    assert grown.grid.image_counts == (10, 0) and fill(grown) == []
    assert open_store(store.path).images.excluded == (*BAD, *NO_IMAGES.excluded)
    assert verify(store.path, unit_norm=False).is_sound
    with open_reader(store.path) as reader:
        assert whole(reader) == (10, 4)
    assert zarr.open_group(store.path, mode="r")["images/1/path_bytes"].shape == (0,)
    last = make_images(13)
    last = ImageIndex(
        paths=last.paths[10:], sizes_N2=last.sizes_N2[10:], digests_N32=last.digests_N32[10:], labels_N=[0, 1, 2]
    )
    again = grow_campaign(open_store(store.path), "teacher", add_images(open_store(store.path), last))
    assert again.grid.image_counts == (10, 0, 3)
    fill(again)
    with open_reader(store.path) as reader:
        assert whole(reader) == (13, 4)
    copy = stage_store(store.path, tmp_path / "local", campaigns=["teacher"])
    with open_reader(copy) as reader:
        assert reader.images.excluded == (*BAD, *NO_IMAGES.excluded)
        assert whole(reader) == (13, 4)


def test_a_grid_with_an_empty_part():
    grid = BlockGrid(image_counts=(10, 0, 5), num_seeds=2, images_per_block=4, seeds_per_block=2)
    assert (grid.num_images, grid.num_image_blocks, grid.num_rows) == (15, 5, 17)
    assert grid.rows(np.arange(9, 12)).tolist() == [9, 12, 13]
    assert [block.images for block in grid.blocks()][2:4] == [range(8, 10), range(10, 14)]
    assert replace(grid, image_counts=(10, 0)).num_rows == 10
    with pytest.raises(ValueError, match=r"image_counts\[0\]: found 0, expected a positive integer"):
        replace(grid, image_counts=(0, 5))
    with pytest.raises(ValueError, match=r"image_counts\[1\]: found -1, expected an integer from 0 on"):
        replace(grid, image_counts=(10, -1))


@pytest.mark.parametrize(
    ("excluded", "message"),
    [
        ([("../a", "x")], "excluded image 0: found the path '../a'"),
        ([("new", "x"), ("class é/0.jpg", "x")], "found class é/0.jpg both in it and excluded"),
    ],
)
def test_what_cannot_be_excluded(excluded, message):
    with pytest.raises(ValueError, match=message):
        replace(make_images(), excluded=excluded)
    with pytest.raises(ValueError, match="found no image"):
        replace(NO_IMAGES, excluded=())
