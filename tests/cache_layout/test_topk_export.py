"""A store of the K largest logits: an ordinary store, with the values that numpy gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from store_example import arguments, content, make_images, overwrite, rows_of_block

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.disk_space import NoSpace
from fdbpl.cache_layout.encodings import encode_topk
from fdbpl.cache_layout.errors import DamagedFile, UnknownArray, UnsealedStore
from fdbpl.cache_layout.grow import add_campaign, add_images, grow_campaign
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.topk_export import export_topk, plan_topk
from fdbpl.cache_layout.writer import write_block

FORMAT_1 = Path(__file__).parent / "formats/1/store.zarr"


def all_views(reader):
    return [axis.reshape(-1) for axis in np.indices((reader.num_images, reader.num_seeds))]


def test_the_rows_are_the_largest_logits(undisturbed, tmp_path):
    calls = []
    path = export_topk(undisturbed, tmp_path / "small", k=2, on_progress=lambda *at: calls.append(at))
    assert calls[-1] == (50, 50)
    with open_reader(undisturbed) as old, open_reader(path, check_planes=True) as new:
        views = all_views(old)
        assert sorted(new.arrays) == [
            "crop/box", "crop/flip", "teacher/logsumexp", "teacher/topk_index", "teacher/topk_value",
        ]  # fmt: skip
        assert [new.dtype(f"teacher/{name}") for name in ("topk_value", "topk_index", "logsumexp")] == [
            np.float16, np.uint16, np.float32,
        ]  # fmt: skip
        assert new.shape("teacher/topk_value") == (10, 5, 2) and new.shape("teacher/logsumexp") == (10, 5)
        logits = old.read("teacher/logits", *views)
        logits = logits - logits.max(axis=1, keepdims=True)
        index = np.argsort(-logits, axis=1, kind="stable")[:, :2]
        value = np.take_along_axis(logits, index, 1)
        assert np.array_equal(new.read("teacher/topk_index", *views), index)
        assert np.array_equal(new.read("teacher/topk_value", *views), value.astype(np.float16))
        np.testing.assert_allclose(
            new.read("teacher/logsumexp", *views), np.log(np.exp(logits.astype(float)).sum(1)), atol=0.05, rtol=0
        )
        for name in ("crop/box", "crop/flip"):
            assert np.array_equal(new.read(name, *views), old.read(name, *views))
        assert new.images == old.images
        assert new.class_list("base").digest == old.class_list("base").digest
        fields = dict(new.manifest.fields)
        assert fields.pop("derived") == {"from": old.manifest.fingerprint, "labels": "topk", "k": 2}
        assert fields == old.manifest.fields
        assert new.manifest.fingerprint != old.manifest.fingerprint
    assert open_store(path).is_sealed
    assert not [name for name in content(path) if "/." in name]
    assert [found.name for found in tmp_path.iterdir()] == ["small"]
    export_topk(undisturbed, tmp_path / "again", k=2)
    assert content(tmp_path / "again") == content(path)


def test_encoding_by_hand():
    value, index, logsumexp = encode_topk(np.array([[1, 3, 3, 2]], np.float32), 3)
    assert (value.tolist(), index.tolist()) == ([[0, 0, -1]], [[1, 2, 3]])
    assert logsumexp[0] == np.float32(np.log(2 + np.exp(-1) + np.exp(-2)))


def test_ties_by_class_number():
    logits = np.tile(np.array([0, 5, 5, 5], np.float32), (2, 100))
    assert encode_topk(logits, 90)[1].tolist() == [[n for n in range(400) if n % 4][:90]] * 2


def test_many_classes_need_wider_numbers(tmp_path):
    logits = ArraySpec(name="teacher/logits", row_shape=(2**16 + 1,), dtype="float16")
    store = create_store(
        tmp_path / "store", **arguments(images=make_images(1), num_seeds=1, campaigns={"labels": [logits]})
    )
    rows = np.zeros((1, 1, 2**16 + 1), np.float16)
    rows[..., -1] = 4
    write_block(store, "labels", store.grid.block(0, 0), {"teacher/logits": rows})
    seal(store.path)
    with open_reader(export_topk(store.path, tmp_path / "small", k=1)) as reader:
        assert reader.read("teacher/topk_index", [0], [0]).tolist() == [[2**16]]
        assert reader.dtype("teacher/topk_index") == np.uint32
        assert list(open_store(reader.path).campaigns) == ["labels"]


def test_a_store_that_grew_and_a_campaign_that_is_asked_for(sealed, tmp_path):
    student = ArraySpec(name="student/x", row_shape=(2,), dtype="float16")
    store = add_campaign(open_store(sealed), "student", [student], {"name": "x"})
    store = grow_campaign(store, "teacher", add_images(store, make_images(3, first=10)))
    for name in ("teacher", "student"):
        for block in store.missing_blocks(name):
            write_block(store, name, block, rows_of_block(store, block, name) if name == "teacher" else {
                "student/x": np.full((len(block.images), len(block.seeds), 2), block.images.start, np.float16)
            })  # fmt: skip
    with pytest.raises(UnsealedStore, match="student"):
        export_topk(sealed, tmp_path / "small", k=1, campaigns=["student"])
    seal(sealed)
    path = export_topk(sealed, tmp_path / "small", k=1, campaigns=["student"])
    new = open_store(path)
    assert new.campaign("teacher").grid == open_store(sealed).campaign("teacher").grid
    assert new.campaign("student").manifest == {"name": "x"}
    with open_reader(sealed) as old, open_reader(path) as reader:
        assert reader.shape("teacher/topk_index") == (13, 5, 1)
        assert reader.shape("student/x") == (10, 5, 2)
        views = all_views(reader)
        assert np.array_equal(reader.read("student/x", *views), old.read("student/x", *views))
        last = np.full(5, 12), np.arange(5)
        logits = old.read("teacher/logits", *last)
        assert np.array_equal(reader.read("teacher/topk_index", *last)[:, 0], logits.argmax(axis=1))


def test_of_format_1(tmp_path):
    path = export_topk(FORMAT_1, tmp_path / "small", k=1)
    with open_reader(FORMAT_1) as old, open_reader(path) as new:
        views = all_views(old)
        assert np.array_equal(
            new.read("teacher/topk_index", *views)[:, 0], old.read("teacher/logits", *views).argmax(axis=1)
        )
        assert new.images == old.images


def test_what_is_refused(sealed, tmp_path, monkeypatch):
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"found {k}, expected 1 to 3"):
            export_topk(sealed, tmp_path / "small", k=k)
    with pytest.raises(ValueError, match="already"):
        export_topk(sealed, sealed.parent, k=1)
    small = export_topk(sealed, tmp_path / "small", k=1)
    with pytest.raises(UnknownArray, match="no array 'teacher/logits'"):
        export_topk(small, tmp_path / "smaller", k=1)
    name = "teacher/logits/c.1.0.0"
    data = bytearray((sealed / name).read_bytes())
    data[4] ^= 1
    overwrite(sealed / name, bytes(data))
    with pytest.raises(DamagedFile, match=f"{name}: found crc32c"):
        export_topk(sealed, tmp_path / "other", k=1)
    monkeypatch.setattr("fdbpl.cache_layout.disk_space.free_bytes", lambda folder: 1)
    with pytest.raises(NoSpace):
        export_topk(sealed, tmp_path / "other", k=1)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["small", "store"]


def test_the_plan(undisturbed, tmp_path):
    plan = plan_topk(undisturbed, tmp_path / "small", k=2)
    path = export_topk(undisturbed, tmp_path / "small", k=2)
    files = [file for file in path.rglob("*") if file.is_file()]
    assert plan.num_files == 45
    written = sum(-(-file.stat().st_size // 4096) * 4096 for file in files)
    assert abs(plan.num_bytes / written - 1) < 0.1
