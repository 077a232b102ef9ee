"""What differs between two stores is named; equal ones are equal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from store_example import FIELDS, SPECS, arguments, make_classes, make_images, overwrite, rows_of_block

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.grow import add_campaign, add_class_list
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import ABSENT, Manifest
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.store_diff import Named, diff_stores, image_differences
from fdbpl.cache_layout.writer import write_block

FORMAT_1 = Path(__file__).parent / "formats/1/store.zarr"


def fields_of(diff):
    return {gap.field: (gap.found, gap.expected) for gap in diff.fields}


def test_equal_stores(sealed, undisturbed):
    diff = diff_stores(sealed, undisturbed)
    assert diff.is_equal
    assert diff.content["teacher"].compared == 36
    assert diff.to_json()["equal"] is True
    assert diff_stores(FORMAT_1, FORMAT_1).is_equal


def test_manifest_and_blocks(undisturbed, tmp_path):
    fields = {**FIELDS, "teacher": {"model": "ViT-L-14", "precision": "fp16"}, "more": 1}
    create_store(tmp_path / "b", **arguments(manifest=Manifest(fields), seeds_per_block=1))
    diff = diff_stores(undisturbed, tmp_path / "b")
    found = fields_of(diff)
    assert found["manifest.teacher.model"] == ("ViT-H-14", "ViT-L-14")
    assert found["manifest.more"] == (ABSENT, 1)
    assert found["blocks.seeds_per_block"] == (2, 1)
    assert found["campaigns.teacher.sealed"] == (True, False)
    assert diff.content["teacher"].why_not.startswith("other blocks")
    assert not diff.is_equal
    json.dumps(diff.to_json(), allow_nan=False)
    assert {"field": "manifest.more", "b": 1} in diff.to_json()["fields"]


def test_images_by_path():
    a = make_images(5)
    labels = a.labels_N[1:].copy()
    labels[0] += 1
    digests = np.array(a.digests_N32[1:])
    digests[1] += 1
    sizes = a.sizes_N2[1:] + np.array([[0, 0], [0, 0], [5, 0], [0, 0]])
    b = ImageIndex(paths=(*a.paths[1:4], "new"), sizes_N2=sizes, digests_N32=digests, labels_N=labels)
    assert image_differences(a, a) == dict.fromkeys(
        ("only_a", "only_b", "other_digest", "other_size", "other_label", "other_number"), Named()
    )
    assert image_differences(a, b) == {
        "only_a": Named(count=2, first=(a.paths[0], a.paths[4])),
        "only_b": Named(count=1, first=("new",)),
        "other_digest": Named(count=1, first=(a.paths[2],)),
        "other_size": Named(count=1, first=(a.paths[3],)),
        "other_label": Named(count=1, first=(a.paths[1],)),
        "other_number": Named(count=3, first=a.paths[1:4]),
    }
    many = image_differences(make_images(20), make_images(1))["only_a"]
    assert (many.count, len(many.first)) == (19, 5)


def test_another_image_index_alone_is_a_difference(undisturbed, tmp_path):
    images = make_images()
    labels = np.array(images.labels_N)
    labels[3] = 7
    other = ImageIndex(paths=images.paths, sizes_N2=images.sizes_N2, digests_N32=images.digests_N32, labels_N=labels)
    create_store(tmp_path / "a", **arguments())
    create_store(tmp_path / "b", **arguments(images=other))
    diff = diff_stores(tmp_path / "a", tmp_path / "b")
    assert not diff.fields
    assert diff.images["other_label"] == Named(count=1, first=("class é/3.jpg",))
    assert not diff.is_equal


def test_class_lists(undisturbed, sealed, tmp_path):
    create_store(tmp_path / "b", **arguments(class_lists=[]))
    base = make_classes()
    near = ClassList(
        name="base",
        class_names=base.class_names,
        templates=("a picture of a {}.",),
        text_embedding_CD=base.text_embedding_CD + np.float32(0.25),
    )
    add_class_list(open_store(tmp_path / "b"), near)
    add_class_list(open_store(tmp_path / "b"), make_classes("new"))
    found = fields_of(diff_stores(undisturbed, tmp_path / "b"))
    assert found["class_lists.new"] == (ABSENT, "3 classes")
    assert found["class_lists.base.templates"] == (["a photo of a {}."], ["a picture of a {}."])
    assert found["class_lists.base.text_embedding"] == ("0.25 apart", "at most 0")
    assert "class_lists.base.class_names" not in found


def test_content_by_the_records(undisturbed, tmp_path):
    """One block with other rows, one that is missing: two sealed stores that differ in a file, and a half one."""
    store = create_store(tmp_path / "b", **arguments())
    for block in store.blocks("teacher"):
        rows = rows_of_block(store, block)
        if block.id == "1.0":
            rows["crop/flip"] = ~rows["crop/flip"]
        if block.id != "2.2":
            write_block(store, "teacher", block, rows)
    diff = diff_stores(undisturbed, store.path)
    content = diff.content["teacher"]
    assert (content.compared, content.other) == (32, Named(count=1, first=("crop/flip/c.1.0",)))
    assert content.only_a.count == 4 and content.only_b.count == 0
    assert diff_stores(store.path, undisturbed).content["teacher"].only_b.count == 4
    block = store.grid.block(2, 2)
    write_block(store, "teacher", block, rows_of_block(store, block))
    seal(store.path)
    diff = diff_stores(undisturbed, store.path)
    assert list(fields_of(diff)) == ["campaigns.teacher.seals"]
    assert diff.content["teacher"].other.count == 1


def test_campaigns(undisturbed, sealed, tmp_path):
    other = ArraySpec(name="student/x", row_shape=(2,), dtype="float16")
    add_campaign(open_store(sealed), "student", [other], {"name": "x"})
    diff = diff_stores(undisturbed, sealed)
    assert fields_of(diff)["campaigns.student"][0] is ABSENT
    assert set(diff.content) == {"teacher"} and diff.content["teacher"].is_equal
    specs = (*SPECS[:3], ArraySpec(name="teacher/logits", row_shape=(3,), dtype="float16"))
    create_store(tmp_path / "b", **arguments(campaigns={"teacher": specs}, num_seeds=6))
    found = fields_of(diff_stores(undisturbed, tmp_path / "b"))
    assert found["campaigns.teacher.arrays.teacher/logits.dtype"] == ("float32", "float16")
    assert found["campaigns.teacher.grid.num_seeds"] == (5, 6)


def test_formats(undisturbed, tmp_path):
    diff = diff_stores(FORMAT_1, undisturbed)
    assert fields_of(diff)["format_version"] == (1, 2)
    assert diff.content["teacher"].why_not.startswith("another format version")
    shutil.copytree(undisturbed, tmp_path / "b")
    overwrite(tmp_path / "b/images/0/label/c.0", bytes(44))
    with pytest.raises(CacheError, match="images/0"):
        diff_stores(undisturbed, tmp_path / "b")
    with pytest.raises(CacheError, match="found no store at"):
        diff_stores(undisturbed, tmp_path / "none")
