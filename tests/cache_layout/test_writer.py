"""Shard files: the same bytes as zarr-python's, whole or not at all, and finite."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from store_example import SPECS, arguments, content, make_images, resume, rows_of, rows_of_block

from fdbpl.cache_layout import files
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError, NotFinite
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.shard import crc32c, decode_index
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.writer import write_block

GRIDS = [
    pytest.param(10, 5, 4, 2, id="neither divides"),
    pytest.param(8, 4, 4, 2, id="both divide"),
    pytest.param(3, 2, 8, 4, id="smaller than a block"),
    pytest.param(9, 1, 3, 1, id="one seed"),
]
# Newer Pythons warn of every fork beside threads; zarr-python keeps some, and resets them in the child.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.mark.parametrize(("num_images", "num_seeds", "images_per_block", "seeds_per_block"), GRIDS)
def test_zarr_python_reads_what_was_written_and_its_own_files_are_read(
    tmp_path, num_images, num_seeds, images_per_block, seeds_per_block
):
    settings = arguments(
        images=make_images(num_images),
        num_seeds=num_seeds,
        images_per_block=images_per_block,
        seeds_per_block=seeds_per_block,
    )
    ours, twin = create_store(tmp_path / "ours", **settings), create_store(tmp_path / "twin", **settings)
    group = zarr.open_group(str(twin.path))
    for spec in SPECS:
        group[spec.name][...] = rows_of(spec, twin)
    for block in ours.blocks("teacher"):
        write_block(ours, "teacher", block, rows_of_block(ours, block))
    read = zarr.open_group(str(ours.path), mode="r")
    for spec in SPECS:
        left, right = content(ours.path / spec.name), content(twin.path / spec.name)
        assert left.keys() == right.keys()
        assert len(left) == ours.grid.num_blocks + 1
        assert np.array_equal(read[spec.name][...], rows_of(spec, ours))
        # Planes, checksums and order are zarr-python's; only the zeros between planes are ours.
        assert [len(left[name]) - len(right[name]) for name in left] == [
            0 if name == "zarr.json" else planes_in(name, ours) * padding_of(spec, ours) for name in left
        ]


def planes_in(name, store):
    return len(store.grid.block(*map(int, name.split(".")[1:3])).seeds)


def padding_of(spec, store):
    return -(store.grid.images_per_block * spec.row_bytes + 4) % spec.row_bytes


def test_planes_begin_at_multiples_of_the_row(undisturbed):
    store = open_store(undisturbed)
    for spec in SPECS:
        plane_bytes = 4 * spec.row_bytes
        for block in store.blocks("teacher"):
            data = (undisturbed / spec.file_name(block)).read_bytes()
            positions = decode_index(data[-36:], len(data), plane_bytes)[: len(block.seeds)]
            assert (positions >= 0).all() and not (positions % spec.row_bytes).any()
            for position in positions.tolist():
                assert data[position + plane_bytes :][:4] == crc32c(data[position : position + plane_bytes])


def test_files_are_read_only_and_the_record_says_what_they_are(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    block = store.blocks("teacher")[4]
    write_block(store, "teacher", block, rows_of_block(store, block))
    records = store.records("teacher")
    assert len(records) == 1
    path = store.path / "crop/flip/c.1.1"
    record = records.get(block)["crop/flip"]
    assert files.FileRecord(size=record.size, sha256=record.sha256) == files.record_of(path)
    assert record.size == path.stat().st_size == 2 * (4 + 4) + 2 * 16 + 4
    content_ = path.read_bytes()
    assert record.plane_crc32c == tuple(int.from_bytes(crc32c(content_[at : at + 4]), "little") for at in (0, 8))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert [missing.id for missing in store.missing_blocks("teacher")] == [
        "0.0", "0.1", "0.2", "1.0", "1.2", "2.0", "2.1", "2.2",
    ]  # fmt: skip


def test_writing_a_finished_block_again_is_harmless(tmp_path):
    store = resume(tmp_path / "store")
    before = content(store.path)
    block = store.blocks("teacher")[0]
    write_block(store, "teacher", block, rows_of_block(store, block))
    assert content(store.path) == before


def test_a_finished_block_keeps_its_bytes_against_another_result(tmp_path, caplog):
    store = resume(tmp_path / "store")
    before = content(store.path)
    block = store.blocks("teacher")[0]
    rows = rows_of_block(store, block)
    rows["teacher/logits"] = rows["teacher/logits"] + np.float32(1)
    with caplog.at_level(logging.WARNING):
        write_block(store, "teacher", block, rows)
    assert "block 0.0 of campaign teacher was finished by another attempt" in caplog.text
    assert content(store.path) == before


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_writers_of_the_same_blocks_at_once_are_harmless(tmp_path, undisturbed, start_method):
    path = tmp_path / "store"
    with ProcessPoolExecutor(4, multiprocessing.get_context(start_method)) as pool:
        list(pool.map(resume, [path] * 8))
    seal(path)
    assert content(path) == content(undisturbed)


def test_a_sealed_block_takes_the_same_bytes_only(sealed):
    from fdbpl.cache_layout.store import open_store

    store = open_store(sealed)
    before = content(sealed)
    block = store.blocks("teacher")[0]
    rows = rows_of_block(store, block)
    (sealed / "teacher/logits/c.0.0.0").unlink()
    assert [missing.id for missing in store.missing_blocks("teacher")] == ["0.0"]
    write_block(store, "teacher", block, rows)
    assert content(sealed) == before
    rows["crop/flip"] = ~rows["crop/flip"]
    with pytest.raises(CacheError, match=r"block 0.0 of campaign teacher .* sealed with other bytes"):
        write_block(store, "teacher", block, rows)
    assert content(sealed) == before


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("array", ["teacher/embedding", "teacher/logits"])
def test_values_that_are_not_finite_are_refused_with_the_view(tmp_path, array, bad):
    store = create_store(tmp_path / "store", **arguments())
    before = content(store.path)
    block = store.grid.block(2, 1)
    rows = rows_of_block(store, block)
    rows[array][1, 1, 2] = bad
    with pytest.raises(NotFinite, match=rf"array {array}, block 2.1: .* image class é/9.jpg, seed 3"):
        write_block(store, "teacher", block, rows)
    assert content(store.path) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop("crop/box"), "found rows for"),
        (lambda rows: rows.update(other=rows["crop/box"]), "found rows for"),
        (lambda rows: rows.update({"crop/box": rows["crop/box"][:3]}), r"found int32 \(3, 2, 4\)"),
        (lambda rows: rows.update({"crop/box": rows["crop/box"].astype("int64")}), "found int64"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, change, message):
    store = create_store(tmp_path / "store", **arguments())
    block = store.blocks("teacher")[0]
    rows = rows_of_block(store, block)
    change(rows)
    before = content(store.path)
    with pytest.raises(ValueError, match=message):
        write_block(store, "teacher", block, rows)
    assert content(store.path) == before


def test_a_block_of_another_grid_is_refused(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    other = create_store(tmp_path / "other", **arguments(images_per_block=5))
    block = other.blocks("teacher")[0]
    with pytest.raises(ValueError, match="expected a block of the grid"):
        write_block(store, "teacher", block, rows_of_block(store, block))


def test_a_full_disk_leaves_nothing_and_writing_goes_on_later(tmp_path, monkeypatch, undisturbed):
    store = create_store(tmp_path / "store", **arguments())
    before = content(store.path)
    block = store.blocks("teacher")[0]
    calls = []

    def full_disk(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"No space left on device: .*/store/teacher/embedding/\.tmp-"):
        write_block(store, "teacher", block, rows_of_block(store, block))
    monkeypatch.undo()
    assert content(store.path) == before
    resume(store.path)
    seal(store.path)
    assert content(store.path) == content(undisturbed)


def test_a_big_endian_array_is_stored_little_endian(tmp_path):
    store, twin = (create_store(tmp_path / name, **arguments()) for name in ("a", "b"))
    block = store.blocks("teacher")[0]
    rows = rows_of_block(store, block)
    write_block(store, "teacher", block, rows)
    swapped = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in rows.items()}
    write_block(twin, "teacher", block, swapped)
    assert content(Path(store.path)) == content(Path(twin.path))
