"""Image index, class lists, blocks and array specs: checked on making, and nothing else is let in."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from store_example import make_classes, make_images

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.images import ImageIndex, decode_paths

GRID = BlockGrid(image_counts=(10,), num_seeds=5, images_per_block=4, seeds_per_block=2)


def test_image_index():
    images = make_images()
    assert len(images) == 10
    assert images.sizes_N2.dtype == images.labels_N.dtype == np.int32
    assert images.digests_N32.dtype == np.uint8
    assert decode_paths(*images.path_bytes) == images.paths
    assert images == make_images() == pickle.loads(pickle.dumps(images))
    with pytest.raises(ValueError, match="read-only"):
        images.labels_N[0] = 1


def test_image_digest_covers_every_part():
    images = make_images()
    others = [
        replace(images, paths=("other.jpg", *images.paths[1:])),
        replace(images, sizes_N2=images.sizes_N2[::-1]),
        replace(images, digests_N32=images.digests_N32[::-1]),
        replace(images, labels_N=images.labels_N + 1),
        make_images(9),
    ]
    assert len({images.digest, *(other.digest for other in others)}) == 6
    one = ImageIndex(paths=("a",), sizes_N2=[[1, 2]], digests_N32=np.zeros((1, 32), int), labels_N=[0])
    assert one.digest == "sha256:67ec3a4539f450d260daf6ab1fa37a75aef55d48ce8081c4431463ffca6cea82"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ("a",)}, "sizes_N2: found"),
        ({"labels_N": np.zeros(10)}, "labels_N: found float64"),
        ({"labels_N": np.full(10, 2**40)}, "cannot hold"),
        ({"labels_N": np.full(10, -2)}, r"labels_N of image 0 \(class é/0.jpg\): found -2"),
        ({"sizes_N2": np.zeros((10, 2), int)}, "sizes_N2 of image 0"),
        ({"paths": ("../a", *map(str, range(9)))}, "image 0: found the path '../a'"),
        ({"paths": (*map(str, range(9)), "/a")}, "image 9: found the path '/a'"),
        ({"paths": (*map(str, range(9)), "")}, "image 9: found the path ''"),
    ],
)
def test_bad_image_index(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(make_images(), **changes)


def test_no_image():
    with pytest.raises(ValueError, match="found no image"):
        make_images(0)


def test_class_list():
    classes = make_classes()
    assert len(classes) == 3
    assert classes.text_embedding_CD.dtype == np.float32
    reworded = replace(classes, templates=("{}",))
    moved = replace(classes, text_embedding_CD=classes.text_embedding_CD * 2)
    assert reworded.digest != classes.digest == moved.digest
    assert moved.embedding_digest != classes.embedding_digest == reworded.embedding_digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("ox", "dog", "ox")}, r"class list base: found \['ox'\] more than once"),
        ({"class_names": ("ox", "dog", "")}, "empty class name"),
        ({"class_names": ()}, "found no class"),
        ({"class_names": ("ox",)}, r"found a text embedding of shape \(3, 8\), expected \(1, D\)"),
        ({"text_embedding_CD": np.full((3, 8), np.nan)}, "the embedding of 'red cat' is not finite"),
        ({"name": "a/b"}, "class list name: found 'a/b'"),
        ({"name": ".hidden"}, "class list name"),
    ],
)
def test_bad_class_list(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(make_classes(), **changes)


def test_a_class_name_twice_is_refused_on_making():
    with pytest.raises(ValueError, match="more than once"):
        ClassList(name="x", class_names=("a", "a"), templates=(), text_embedding_CD=np.ones((2, 4)))


def test_blocks():
    blocks = list(GRID.blocks())
    assert [block.id for block in blocks] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]
    assert blocks[-1] == Block(images=range(8, 10), seeds=range(4, 5), image_block=2, seed_block=2)
    assert GRID.num_blocks == 9
    assert sum(block.num_views for block in blocks) == 50
    assert [GRID.block(1, 2)] == [block for block in blocks if block.id == "1.2"]
    with pytest.raises(ValueError, match=r"block: found 3.0, expected at most 2.2"):
        GRID.block(3, 0)


@pytest.mark.parametrize("bad", [0, -1, 1.0, True])
def test_bad_grid(bad):
    with pytest.raises(ValueError, match="num_seeds: found"):
        replace(GRID, num_seeds=bad)


def test_array_spec():
    spec = ArraySpec(name="teacher/embedding", row_shape=(3, 2), dtype="float16")
    assert (spec.shape(GRID), spec.row_bytes) == ((10, 5, 3, 2), 12)
    assert spec.file_name(GRID.block(2, 1)) == "teacher/embedding/c.2.1.0.0"
    flip = ArraySpec(name="crop/flip", row_shape=(), dtype="bool")
    assert (flip.shape(GRID), flip.row_bytes, flip.fill_value) == ((10, 5), 1, False)
    assert flip.file_name(GRID.block(0, 0)) == "crop/flip/c.0.0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "images/extra"}, "expected none of"),
        ({"name": "records"}, "expected none of"),
        ({"name": "a//b"}, "array name"),
        ({"name": "../b"}, "array name"),
        ({"name": "é"}, "array name"),
        ({"row_shape": (0,)}, "expected positive integers"),
        ({"dtype": "float64"}, "found dtype 'float64'"),
    ],
)
def test_bad_array_spec(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(ArraySpec(name="a", row_shape=(2,), dtype="int32"), **changes)
