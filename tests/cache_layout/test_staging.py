"""Copies on a node: one copier, whole or nothing, equal to the source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import kill_copiers
import numpy as np
import pytest
from store_example import content, make_classes, make_images, overwrite, read_everything, rows_of_block

from fdbpl.cache_layout import staging
from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.disk_space import NoSpace
from fdbpl.cache_layout.errors import CacheError, DamagedFile, MissingBlocks, UnknownArray, UnsealedStore
from fdbpl.cache_layout.grow import add_campaign, add_class_list, add_images, grow_campaign
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.staging import plan_staging, remove_copy, stage_store
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.writer import write_block

STUDENT = ArraySpec(name="student/features", row_shape=(2,), dtype="float16")
FORMAT_1 = Path(__file__).parent / "formats/1/store.zarr"


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def write_missing(store, campaign):
    for block in store.missing_blocks(campaign):
        write_block(store, campaign, block, rows_of_block(store, block, campaign))


def grow(path, *, sealed):
    """Three more images and their rows."""
    store = open_store(path)
    store = grow_campaign(store, "teacher", add_images(store, make_images(3, first=10)))
    write_missing(store, "teacher")
    if sealed:
        seal(path)


def test_a_copy_is_the_store_and_is_made_once(undisturbed, tmp_path):
    calls = []
    path = stage_store(undisturbed, tmp_path / "node", on_progress=lambda *at: calls.append(at))
    assert path.parent == tmp_path / "node"
    assert path.name.startswith("store-") and len(path.name) == len("store-") + 16
    assert content(path) == content(undisturbed)
    total = sum(file.stat().st_size for file in undisturbed.rglob("c.*.*.*") if "records" not in file.parts)
    assert calls[-1][0] == calls[-1][1] > total / 2
    with open_reader(undisturbed) as first, open_reader(path) as second:
        left, right = read_everything(first), read_everything(second)
    assert all(np.array_equal(left[name], right[name]) for name in left)
    assert stage_store(undisturbed, tmp_path / "node", on_progress=lambda *_: pytest.fail("copied again")) == path
    assert names_in(tmp_path / "node") == [path.name]


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where there is one, as a node has it: kills and races need no disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def test_four_processes_make_one_copy(undisturbed, memory):
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        results = [
            task.result() for task in [pool.submit(kill_copiers.stage_and_count, undisturbed, memory) for _ in range(4)]
        ]
    assert len({(path, inode) for path, _, inode in results}) == 1
    assert sum(copied for _, copied, _ in results) == 1
    assert content(results[0][0]) == content(undisturbed)
    assert len(names_in(memory)) == 1


def test_a_killed_copier_is_taken_over(undisturbed, memory):
    script = [sys.executable, kill_copiers.__file__, "stage", undisturbed, undisturbed, memory, "10"]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] == "10"


@pytest.mark.parametrize("damage", ["bit", "length", "missing"])
def test_a_damaged_source_is_refused_by_name(sealed, tmp_path, damage):
    name = "teacher/logits/c.1.1.0"
    data = bytearray((sealed / name).read_bytes())
    data[5] ^= 1
    if damage == "missing":
        (sealed / name).unlink()
    else:
        overwrite(sealed / name, bytes(data if damage == "bit" else data[:-1]))
    expected = {"bit": "found sha256", "length": "bytes, expected", "missing": "missing"}[damage]
    with pytest.raises((DamagedFile, MissingBlocks), match=f"{name}: .*{expected}"):
        stage_store(sealed, tmp_path / "node")
    assert names_in(tmp_path / "node") == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("images/0/label/c.0", "images/0: label/c.0: found crc32c"),
        ("classes/base/text_embedding/c.0.0", "classes/base: text_embedding/c.0.0: found crc32c"),
        ("crop/box/zarr.json", "crop/box/zarr.json: "),
        ("records/teacher/zarr.json", "no campaign: restore `records`"),
    ],
)
def test_damaged_metadata_are_refused(sealed, tmp_path, name, says):
    data = bytearray((sealed / name).read_bytes())
    data[30 if name.endswith("json") else 0] ^= 1
    overwrite(sealed / name, bytes(data))
    with pytest.raises(CacheError, match=says):
        stage_store(sealed, tmp_path / "node")
    assert not list((tmp_path).glob("node/*"))


def test_a_full_disk(undisturbed, small_disk, monkeypatch):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1280 << 10))
    copied = []
    with pytest.raises(NoSpace, match=r"bytes are needed, [\d,]+ are free") as caught:
        stage_store(undisturbed, small_disk, on_progress=lambda *at: copied.append(at))
    assert caught.value.needed > caught.value.free > 0
    assert not copied, "found out by trying"
    assert names_in(small_disk) == ["ballast"]
    # Full in mid-copy: the check before it sees room that another process takes.
    monkeypatch.setattr(staging, "require_space", lambda *_: None)
    for size in (1500 << 10, 1400 << 10, 1300 << 10):
        ballast.write_bytes(bytes(size))
        with pytest.raises(NoSpace):
            stage_store(undisturbed, small_disk)
        assert names_in(small_disk) == ["ballast"]
    ballast.unlink()
    assert content(stage_store(undisturbed, small_disk)) == content(undisturbed)


def test_of_a_growing_store_what_is_sealed_is_copied(sealed, undisturbed, tmp_path):
    add_campaign(open_store(sealed), "student/x", [STUDENT])
    grow(sealed, sealed=False)
    assert not open_store(sealed).campaign("teacher").is_sealed
    path = stage_store(sealed, tmp_path / "node")
    assert content(path) == content(undisturbed)
    with pytest.raises(UnsealedStore, match="student/x"):
        stage_store(sealed, tmp_path / "node", campaigns=["student/x"])
    with pytest.raises(UnknownArray):
        stage_store(sealed, tmp_path / "node", campaigns=["stud"])


def test_a_grown_store_gets_another_copy(sealed, tmp_path):
    names = [stage_store(sealed, tmp_path / "node")]
    grow(sealed, sealed=True)
    names.append(stage_store(sealed, tmp_path / "node"))
    assert content(names[-1]) == content(sealed)
    add_campaign(open_store(sealed), "student/x", [STUDENT])
    write_missing(open_store(sealed), "student/x")
    assert stage_store(sealed, tmp_path / "node") == names[-1]
    seal(sealed)
    names.append(stage_store(sealed, tmp_path / "node"))
    assert content(names[-1]) == content(sealed)
    chosen = stage_store(sealed, tmp_path / "node", campaigns=["teacher"])
    assert chosen == names[1]
    one = make_classes("new")
    other = ClassList(
        name="new", class_names=("bee",), templates=one.templates, text_embedding_CD=np.eye(1, 8, dtype=np.float32)
    )
    add_class_list(open_store(sealed), other)
    names.append(stage_store(sealed, tmp_path / "node"))
    assert open_reader(names[-1]).class_lists == ("base", "new")
    assert len(set(names)) == 4


def test_campaigns_inside_one_another(sealed, tmp_path):
    """The group above a chosen campaign may be another campaign, which is not taken along."""
    store = add_campaign(open_store(sealed), "student", [ArraySpec(name="a", row_shape=(), dtype="int8")])
    store = add_campaign(store, "student/x", [STUDENT])
    write_missing(store, "student/x")
    seal(sealed, "student/x")
    copy = open_store(stage_store(sealed, tmp_path / "node"))
    assert set(copy.campaigns) == {"teacher", "student/x"}
    assert copy.is_sealed


def test_a_store_of_format_1_is_copied_as_it_is(tmp_path):
    def values(path):
        return {name: json.loads(data) if name.endswith("json") else data for name, data in content(path).items()}

    assert values(stage_store(FORMAT_1, tmp_path)) == values(FORMAT_1)


def test_a_copy_that_lost_files_is_made_anew(undisturbed, tmp_path):
    path = stage_store(undisturbed, tmp_path)
    for name in ("teacher/logits/c.0.0.0", "records/teacher/zarr.json", "zarr.json"):
        (path / name).unlink()
        assert not plan_staging(undisturbed, tmp_path).is_present
        assert stage_store(undisturbed, tmp_path) == path
        assert content(path) == content(undisturbed)
    assert names_in(tmp_path) == [path.name]


def test_only_a_copy_is_removed(sealed, tmp_path):
    path = stage_store(sealed, tmp_path / "node")
    plan = plan_staging(sealed, tmp_path / "node")
    assert plan.is_present and plan.target == path
    (tmp_path / path.name).symlink_to(path)
    for wrong in (sealed, tmp_path / "node", tmp_path / "none", tmp_path / path.name):
        with pytest.raises(ValueError, match="nothing is removed"):
            remove_copy(wrong)
    with open_reader(path) as reader:
        before = read_everything(reader)
        remove_copy(path)
        assert np.array_equal(read_everything(reader)["teacher/logits"], before["teacher/logits"])
    assert names_in(tmp_path / "node") == []
    assert sealed.exists()


def test_the_folder_must_not_be_inside_the_store(sealed, tmp_path):
    (tmp_path / "link").symlink_to(sealed)
    for folder in (sealed, sealed / "teacher", tmp_path / "link" / "copies"):
        with pytest.raises(ValueError, match="inside the store"):
            stage_store(sealed, folder)


def test_the_plan_says_what_is_written(undisturbed, tmp_path):
    plan = plan_staging(undisturbed, tmp_path / "none" / "yet")
    assert plan.num_files == 36
    assert plan.fits and not plan.is_present
    path = stage_store(undisturbed, tmp_path)
    pages = sum(-(-file.stat().st_size // 4096) * 4096 for file in path.rglob("*") if file.is_file())
    assert plan.num_bytes == pages
