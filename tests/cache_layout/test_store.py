"""Making, opening and extending a store; whatever differs is refused by name."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import zarr
from store_example import (
    FIELDS,
    NUM_IMAGES,
    NUM_SEEDS,
    SPECS,
    arguments,
    content,
    create_and_report,
    make_classes,
    make_images,
    rows_of_block,
)

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError, DamagedFile, ManifestMismatch, UnknownArray
from fdbpl.cache_layout.grow import add_campaign
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.writer import write_block

STUDENT = ArraySpec(name="student/ViT-B-32/embedding", row_shape=(2,), dtype="float16")
# Newer Pythons warn of every fork beside threads; zarr-python keeps some, and resets them in the child.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def test_a_new_store_holds_what_it_was_given(tmp_path):
    store = create_store(tmp_path / "deep/er/store", **arguments())
    again = pickle.loads(pickle.dumps(open_store(store.path)))
    assert again.manifest.fields == FIELDS
    assert again.images == make_images()
    assert again.class_lists == ("base",)
    assert again.class_list("base").class_names == make_classes().class_names
    assert again.class_list("base").text_embedding_CD.tolist() == make_classes().text_embedding_CD.tolist()
    assert again.campaigns == {"teacher": SPECS}
    assert again.arrays == {spec.name: spec for spec in SPECS}
    assert (again.grid.num_images, again.grid.num_seeds) == (NUM_IMAGES, NUM_SEEDS)
    assert len(again.blocks("teacher")) == len(again.missing_blocks("teacher")) == 9
    assert not again.is_sealed
    with pytest.raises(UnknownArray, match=r"no campaign 'student' .* it has: teacher"):
        again.blocks("student")
    with pytest.raises(UnknownArray, match=r"no class list 'new' .* it has: base"):
        again.class_list("new")


def test_root_attributes_are_the_documented_ones(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    assert dict(zarr.open_group(str(store.path), mode="r").attrs) == {
        "fdbpl": {
            "format_version": 2,
            "manifest": FIELDS,
            "fingerprint": Manifest(FIELDS).fingerprint,
            "blocks": {"images_per_block": 4, "seeds_per_block": 2},
        }
    }


def test_creating_again_opens_and_changes_nothing(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    before = content(store.path)
    rounded = replace(make_classes(), text_embedding_CD=make_classes().text_embedding_CD + 1e-5)
    again = create_store(store.path, **arguments(class_lists=[rounded]))
    assert again == store
    assert content(store.path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        (
            {"manifest": Manifest({**FIELDS, "teacher": {"model": "ViT-B-32", "precision": "fp32"}})},
            ["teacher.model", "teacher.precision"],
        ),
        ({"manifest": Manifest({"crops": FIELDS["crops"]})}, ["teacher"]),
        ({"manifest": Manifest({**FIELDS, "extra": 1})}, ["extra"]),
        ({"num_seeds": 6, "images_per_block": 5}, ["images_per_block", "num_seeds"]),
        ({"images": replace(make_images(), labels_N=np.zeros(NUM_IMAGES, int))}, ["images"]),
        (
            {"class_lists": [replace(make_classes(), class_names=("a", "b", "c"))]},
            ["class_lists.base.class_names"],
        ),
        (
            {"class_lists": [replace(make_classes(), text_embedding_CD=np.zeros((3, 8)))]},
            ["class_lists.base.text_embedding"],
        ),
        ({"class_lists": [make_classes(), make_classes("new")]}, ["class_lists.new"]),
        (
            {"campaigns": {"teacher": [replace(SPECS[0], dtype="int64"), *SPECS[1:3], STUDENT]}},
            [
                "campaigns.teacher.crop/box.dtype",
                "campaigns.teacher.student/ViT-B-32/embedding",
                "campaigns.teacher.teacher/logits",
            ],
        ),
        ({"campaigns": {"student": [STUDENT]}}, ["campaigns.student.student/ViT-B-32/embedding"]),
    ],
)
def test_another_store_is_refused_with_every_difference(tmp_path, changes, fields):
    store = create_store(tmp_path / "store", **arguments())
    before = content(store.path)
    with pytest.raises(ManifestMismatch) as caught:
        create_store(store.path, **arguments(**changes))
    assert [gap.field for gap in caught.value.differences] == fields
    assert str(store.path) in str(caught.value)
    assert content(store.path) == before


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_processes_that_create_at_once_agree(tmp_path, start_method):
    path = tmp_path / "store"
    with ProcessPoolExecutor(2, multiprocessing.get_context(start_method)) as pool:
        seen = set(pool.map(create_and_report, [str(path)] * 4))
    assert seen == {Manifest(FIELDS).fingerprint}
    assert [left.name for left in tmp_path.iterdir()] == ["store"]
    single = create_store(tmp_path / "single", **arguments())
    assert content(single.path) == content(path)


def test_the_loser_of_a_race_compares_with_the_winner(tmp_path, monkeypatch):
    from fdbpl.cache_layout import create as module

    path = tmp_path / "store"
    create_store(path, **arguments())
    monkeypatch.setattr(module, "is_occupied", lambda path: False)
    before = content(path)
    assert create_store(path, **arguments()).path == path
    with pytest.raises(ManifestMismatch, match=r"num_seeds: found 5, expected 7"):
        create_store(path, **arguments(num_seeds=7))
    assert content(path) == before
    assert [left.name for left in tmp_path.iterdir()] == ["store"]


def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    with pytest.raises(CacheError, match=r"no store at .*photos"):
        create_store(tmp_path / "photos", **arguments())
    with pytest.raises(CacheError, match=r"no store at .*a\.jpg"):
        create_store(tmp_path / "photos/a.jpg", **arguments())
    assert content(tmp_path) == {"photos/a.jpg": b"x"}
    (tmp_path / "empty").mkdir()
    assert create_store(tmp_path / "empty", **arguments()).path == tmp_path / "empty"


def edit_json(path, change):
    document = json.loads(path.read_bytes())
    change(document["attributes"])
    path.unlink()
    path.write_text(json.dumps(document))


def test_a_manifest_edited_by_hand_is_refused(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    edit_json(store.path / "zarr.json", lambda fields: fields["fdbpl"]["manifest"]["teacher"].update(model="x"))
    for opening in (open_store, open_reader, seal, lambda path: create_store(path, **arguments())):
        with pytest.raises(CacheError, match=r"the manifest has fingerprint sha256:.* expected sha256:"):
            opening(store.path)


def test_another_format_version_is_refused(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    edit_json(store.path / "zarr.json", lambda fields: fields["fdbpl"].update(format_version=3))
    with pytest.raises(CacheError, match="found format version 3, expected at most 2"):
        open_store(store.path)


def test_half_a_metadata_file_is_refused(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    text = (store.path / "zarr.json").read_bytes()
    (store.path / "zarr.json").write_bytes(text[: len(text) // 2])
    with pytest.raises(CacheError, match=r"zarr.json: found no JSON"):
        open_store(store.path)


def test_damaged_image_index_and_class_list_are_refused(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    (store.path / "images/0/label/c.0").unlink()
    with pytest.raises(DamagedFile, match=r"images/0: label: .*c\.0"):
        _ = store.images
    chunk = store.path / "classes/base/text_embedding/c.0.0"
    data = bytearray(chunk.read_bytes())
    data[5] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(DamagedFile, match="classes/base: "):
        store.class_list("base")


def test_a_campaign_is_added_written_and_sealed_by_itself(sealed):
    before = content(sealed)
    store = add_campaign(open_store(sealed), "student/ViT-B-32", [STUDENT])
    assert add_campaign(store, "student/ViT-B-32", [STUDENT]) == store
    assert not store.is_sealed
    assert store.campaign("teacher").is_sealed
    for block in store.missing_blocks("student/ViT-B-32"):
        write_block(store, "student/ViT-B-32", block, rows_of_block(store, block, "student/ViT-B-32"))
    assert seal(sealed, "student/ViT-B-32").campaigns == ("student/ViT-B-32",)
    assert store.is_sealed
    after = content(sealed)
    assert {name: after[name] for name in before} == before, "files that were there have changed"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        members = dict(zarr.open_group(str(sealed), mode="r").members(max_depth=None))
    assert {"records/student/ViT-B-32", "student/ViT-B-32/embedding"} <= members.keys()


@pytest.mark.parametrize(
    ("specs", "error", "message"),
    [
        ([SPECS[0]], ValueError, "array crop/box: found in teacher and again in new"),
        ([], ValueError, "campaign new: found no array"),
        ([replace(STUDENT, name="crop/box/more")], ValueError, "found inside array crop/box"),
        ([replace(STUDENT, name="crop")], ValueError, "found inside array crop"),
    ],
)
def test_campaigns_that_cannot_be_added(sealed, specs, error, message):
    before = content(sealed)
    with pytest.raises(error, match=message):
        add_campaign(open_store(sealed), "new", specs)
    assert content(sealed) == before


def test_a_campaign_that_is_there_with_other_arrays(sealed):
    with pytest.raises(ManifestMismatch, match=r"campaigns.teacher.crop/flip: found .*, expected \(absent\)"):
        add_campaign(open_store(sealed), "teacher", [SPECS[0], *SPECS[2:]])


def test_a_campaign_has_a_manifest_of_its_own(sealed):
    store = add_campaign(open_store(sealed), "student/x", [STUDENT], manifest={"weights": "sha256:1"})
    for block in store.missing_blocks("student/x"):
        write_block(store, "student/x", block, rows_of_block(store, block, "student/x"))
    seal(sealed, "student/x")
    with open_reader(sealed) as reader:
        assert reader.campaign_manifest("student/x") == {"weights": "sha256:1"}
        assert reader.campaign_manifest("teacher") == {}
    with pytest.raises(ManifestMismatch, match="weights: found 'sha256:1', expected 'sha256:2'"):
        add_campaign(store, "student/x", [STUDENT], manifest={"weights": "sha256:2"})


def test_a_campaigns_manifest_changed_by_hand_breaks_its_seal(sealed):
    path = sealed / "records" / "teacher" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["fdbpl_campaign"]["manifest"] = {"weights": "other"}
    path.write_text(json.dumps(document))
    with pytest.raises(CacheError, match="the file was changed"):
        open_reader(sealed)
