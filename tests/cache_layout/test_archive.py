"""Archives: any Zarr reader reads them, and what is imported is the store that was exported, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import kill_copiers
import numpy as np
import pytest
import zarr
from store_example import SPECS, arguments, content, make_images, overwrite, read_everything, rows_of_block

from fdbpl.cache_layout import archive
from fdbpl.cache_layout.archive import export_archive, import_archive, plan_export, plan_import
from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.disk_space import NoSpace
from fdbpl.cache_layout.errors import CacheError, DamagedFile, MissingBlocks, UnsealedStore
from fdbpl.cache_layout.files import record_of
from fdbpl.cache_layout.grow import add_campaign, add_images, grow_campaign
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.staging import stage_store
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.writer import write_block

FORMAT_1 = Path(__file__).parent / "formats/1/store.zarr"


@pytest.fixture(scope="module")
def exported(undisturbed, tmp_path_factory):
    """An archive of the undisturbed store; not to be changed."""
    return export_archive(undisturbed, tmp_path_factory.mktemp("archive") / "archive.zarr")


@pytest.fixture
def own(undisturbed, tmp_path):
    """An archive of the test's own."""
    return export_archive(undisturbed, tmp_path / "archive.zarr")


def test_any_zarr_reader_reads_equal_values(undisturbed, exported):
    with open_reader(undisturbed) as reader, warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(str(exported), mode="r")
        for name, expected in read_everything(reader).items():
            assert group[name].dtype == expected.dtype
            assert np.array_equal(group[name][...], expected), name
        original = zarr.open_group(str(undisturbed), mode="r")
        assert sorted(name for name, _ in group.members(max_depth=None)) == sorted(
            name for name, _ in original.members(max_depth=None)
        )
    assert set(group.attrs) == {"fdbpl_archive"}
    assert group.attrs["fdbpl_archive"]["fdbpl"] == original.attrs["fdbpl"]
    codecs = json.loads((exported / "teacher/logits/zarr.json").read_text())["codecs"][0]["configuration"]["codecs"]
    assert [codec["name"] for codec in codecs] == ["bytes", "blosc", "crc32c"]
    assert codecs[1]["configuration"]["shuffle"] == "shuffle"


def test_what_is_imported_is_what_was_exported(undisturbed, exported, tmp_path):
    calls = []
    path = import_archive(exported, tmp_path / "store", on_progress=lambda *at: calls.append(at))
    assert content(path) == content(undisturbed)
    assert calls[-1][0] == calls[-1][1]
    assert len(calls) == 36
    assert [found.name for found in tmp_path.iterdir()] == ["store"]


def test_a_store_that_grew_comes_back(sealed, tmp_path):
    """Two parts of images with empty rows between them, two seals, a second campaign, and rows not sealed yet."""
    store = open_store(sealed)
    store = grow_campaign(store, "teacher", add_images(store, make_images(3, first=10)))
    store = add_campaign(store, "student", [ArraySpec(name="student/x", row_shape=(2,), dtype="float16")])
    store = add_campaign(store, "open", [ArraySpec(name="open/x", row_shape=(), dtype="int8")])
    for name in ("teacher", "student"):
        for block in store.missing_blocks(name):
            write_block(store, name, block, rows_of_block(store, block, name))
        seal(sealed, name)
    with pytest.raises(UnsealedStore, match="open"):
        export_archive(sealed, tmp_path / "archive", campaigns=["open"])
    made = export_archive(sealed, tmp_path / "archive")
    copy = stage_store(sealed, tmp_path / "node")
    for name in ("crop/box", "student/x"):
        theirs, ours = (zarr.open_array(str(folder / name), mode="r")[...] for folder in (made, copy))
        assert theirs.tobytes() == ours.tobytes(), "NaN in the empty rows between the parts too"
    path = import_archive(made, tmp_path / "back")
    assert content(path) == content(copy)
    assert open_reader(path).num_images == 13
    only = import_archive(export_archive(sealed, tmp_path / "a2", campaigns=["student"]), tmp_path / "back2")
    assert list(open_store(only).campaigns) == ["student"]


def test_compression_is_as_stated(tmp_path):
    """Logits of 1,000 classes as a CLIP teacher gives them: one stands out; less that largest."""
    values = np.random.default_rng(0).normal(size=(512, 1, 1000)).astype(np.float32) * 3.2
    values[np.arange(512), 0, np.arange(512)] += 22
    logits = (values - values.max(axis=-1, keepdims=True)).astype(np.float16)
    spec = ArraySpec(name="teacher/logits", row_shape=(1000,), dtype="float16")
    store = create_store(
        tmp_path / "store",
        **arguments(
            images=make_images(512), num_seeds=1, images_per_block=512, seeds_per_block=1, campaigns={"t": [spec]}
        ),
    )
    write_block(store, "t", store.grid.block(0, 0), {"teacher/logits": logits})
    seal(store.path)
    plan = plan_export(store.path, tmp_path / "archive")
    export_archive(store.path, tmp_path / "archive")
    size = (tmp_path / "archive/teacher/logits/c.0.0.0").stat().st_size
    assert 1.45 < logits.nbytes / size < 1.7
    written = sum(
        -(-file.stat().st_size // 4096) * 4096 for file in (tmp_path / "archive").rglob("*") if file.is_file()
    )
    assert plan.is_estimate and abs(plan.num_bytes / written - 1) < 0.03
    assert plan_import(tmp_path / "archive", tmp_path / "back").num_bytes > logits.nbytes


def test_an_archive_is_no_store(exported, undisturbed, tmp_path):
    with pytest.raises(CacheError, match=r"compressed archive at .*: `fdbpl cache import"):
        open_store(exported)
    with pytest.raises(CacheError, match="no archive at"):
        import_archive(undisturbed, tmp_path / "store")
    with pytest.raises(CacheError, match="no archive at"):
        import_archive(tmp_path / "none", tmp_path / "store")


@pytest.mark.parametrize("damage", ["bit", "length", "missing", "other"])
def test_a_damaged_archive_is_refused_by_name(own, tmp_path, damage):
    name = "teacher/logits/c.1.1.0"
    data = bytearray((own / name).read_bytes())
    data[20] ^= 1
    if damage == "missing":
        (own / name).unlink()
    elif damage == "other":
        overwrite(own / name, (own / "teacher/logits/c.1.0.0").read_bytes())
    else:
        overwrite(own / name, bytes(data if damage == "bit" else data[:-1]))
    with pytest.raises(CacheError, match=f"archive at .* is damaged: .*{name}: "):
        import_archive(own, tmp_path / "store")
    assert [found.name for found in tmp_path.iterdir()] == ["archive.zarr"]


def test_an_archive_changed_by_hand_is_refused(own, tmp_path):
    root = json.loads((own / "zarr.json").read_text())
    root["attributes"]["fdbpl_archive"]["fdbpl"]["manifest"]["teacher"]["model"] = "other"
    overwrite(own / "zarr.json", json.dumps(root).encode())
    with pytest.raises(CacheError, match="fingerprint sha256"):
        import_archive(own, tmp_path / "store")
    root["attributes"]["fdbpl_archive"]["format_version"] = 9
    overwrite(own / "zarr.json", json.dumps(root).encode())
    with pytest.raises(CacheError, match="found version 9"):
        import_archive(own, tmp_path / "store")


def test_a_lost_array_is_named(own, tmp_path):
    (own / "teacher/logits/zarr.json").unlink()
    with pytest.raises(CacheError, match="is damaged: teacher/logits: "):
        import_archive(own, tmp_path / "store")


def test_a_damaged_store_is_not_exported(sealed, tmp_path):
    path = sealed / "crop/box/c.0.1.0"
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    overwrite(path, bytes(data))
    with pytest.raises(DamagedFile, match=r"crop/box/c.0.1.0: found sha256"):
        export_archive(sealed, tmp_path / "archive")
    path.unlink()
    with pytest.raises(MissingBlocks, match=r"crop/box/c.0.1.0: missing"):
        export_archive(sealed, tmp_path / "archive")
    assert [found.name for found in tmp_path.iterdir()] == ["store"]


def test_a_file_of_another_program_is_refused_when_exporting(tmp_path):
    """Its bytes do not follow from its rows: found when it is exported, not when it is needed."""
    store = create_store(tmp_path / "store", **arguments())
    for block in store.blocks("teacher"):
        write_block(store, "teacher", block, rows_of_block(store, block))
    group = zarr.open_group(str(store.path), mode="r+")
    for path in (store.path / "crop/box").glob("c.*"):
        path.unlink()
    group["crop/box"][...] = np.zeros(group["crop/box"].shape, np.int32) + 1
    records = store.records("teacher")
    for block in store.blocks("teacher"):
        found = record_of(store.path / SPECS[0].file_name(block))
        record = records.get(block)
        theirs = replace(record["crop/box"], size=found.size, sha256=found.sha256)
        store.pending("teacher").save(block, {**record, "crop/box": theirs})
    seal(store.path)
    with pytest.raises(CacheError, match="another program wrote"):
        export_archive(store.path, tmp_path / "archive")


def test_places_and_levels_are_checked(sealed, exported, tmp_path):
    with pytest.raises(ValueError, match="already"):
        export_archive(sealed, exported)
    with pytest.raises(ValueError, match="inside"):
        export_archive(sealed, sealed / "archive")
    with pytest.raises(ValueError, match="already"):
        import_archive(exported, sealed)
    with pytest.raises(ValueError, match="found 10, expected 1 to 9"):
        export_archive(sealed, tmp_path / "archive", level=10)
    with pytest.raises(CacheError, match="format version 1"):
        export_archive(FORMAT_1, tmp_path / "archive")


@pytest.mark.parametrize("action", ["export", "import"])
def test_killed_exports_and_imports_leave_nothing_under_the_final_name(undisturbed, exported, tmp_path, action):
    source, expected = (undisturbed, exported) if action == "export" else (exported, undisturbed)
    script = [sys.executable, kill_copiers.__file__, action, source, expected, tmp_path, "3"]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] == "3"


def test_too_little_room(undisturbed, exported, tmp_path, monkeypatch):
    monkeypatch.setattr("fdbpl.cache_layout.disk_space.free_bytes", lambda folder: 1000)
    for act, source in ((export_archive, undisturbed), (import_archive, exported)):
        with pytest.raises(NoSpace, match="1,000 are free"):
            act(source, tmp_path / "made")
    monkeypatch.setattr(archive, "require_space", lambda *_: None)

    def full(self, shard, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.ArchiveArray, "write", full)
    with pytest.raises(NoSpace):
        export_archive(undisturbed, tmp_path / "made")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action", [export_archive, import_archive])
def test_a_disk_that_is_full_in_between(undisturbed, exported, small_disk, monkeypatch, action):
    monkeypatch.setattr(archive, "require_space", lambda *_: None)
    source = undisturbed if action is export_archive else exported
    (small_disk / "ballast").write_bytes(bytes(1400 << 10))
    with pytest.raises(NoSpace):
        action(source, small_disk / "made")
    assert [found.name for found in small_disk.iterdir()] == ["ballast"]
