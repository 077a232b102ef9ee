"""Mapping on touch: few files at a time, foreign positions, threads, and checks before a plane's first row."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from store_example import SPECS, arguments, finish, overwrite, read_everything, rows_of

from fdbpl.cache_layout import mapping, shard_map
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import DamagedFile
from fdbpl.cache_layout.mapping import HUGE_PAGE_BYTES, PAGE_BYTES, MappedRange, most_files, reserve_files
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.records import RecordTable, ShardRecord
from fdbpl.cache_layout.shard_map import ShardMap
from fdbpl.cache_layout.store import open_store

# Newer Pythons warn of every fork beside threads; zarr-python keeps some, and resets them in the child.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def mapped_files(store: Path) -> int:
    return Path("/proc/self/maps").read_text().count(f"{store}/")


def everything(path: Path) -> dict[str, np.ndarray]:
    store = open_store(path)
    return {spec.name: rows_of(spec, store) for spec in SPECS}


def same(left, right) -> bool:
    return all(np.array_equal(left[name], right[name]) for name in right)


def test_no_more_files_are_mapped_than_allowed(undisturbed, monkeypatch):
    monkeypatch.setattr(shard_map, "reserve_files", lambda owner, wanted: 2)
    expected = everything(undisturbed)
    random = np.random.default_rng(0)
    with open_reader(undisturbed) as reader:
        for count in (1, 3, 40):
            images, seeds = random.integers(10, size=count), random.integers(5, size=count)
            for name, values in expected.items():
                assert np.array_equal(reader.read(name, images, seeds), values[images, seeds])
        assert same(read_everything(reader), expected)
        for seed in range(5):
            reader.prefetch("crop/box", seed)
            reader.prefetch_rows("crop/box", [0, 9, 5], [seed] * 3)
            assert np.array_equal(reader.read_plane("crop/box", seed), expected["crop/box"][:, seed])
        assert mapped_files(undisturbed) == 2 * len(SPECS)


def test_the_limit_leaves_maps_to_others():
    limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    assert 16 <= most_files() * 2 <= max(32, limit // 2)


def test_all_arrays_of_a_process_share_one_limit():
    class Owner:
        pass

    owners = [Owner() for _ in range(4)]
    taken = mapping._reserved[0]
    granted = [reserve_files(owner, most_files() // 2) for owner in owners[:2]]
    assert sum(granted) <= most_files() - taken + 16
    assert reserve_files(owners[2], most_files()) <= most_files() // 2
    assert reserve_files(owners[3], 100) == 16, "the share is used up: a few in any case"
    owners.clear()
    gc.collect()
    assert mapping._reserved[0] == taken


@pytest.mark.parametrize("check_planes", [False, True])
def test_files_whose_planes_lie_elsewhere_are_read_too(tmp_path, undisturbed, check_planes):
    """zarr-python's own files: planes without padding, so off the raster of rows."""
    store = finish(tmp_path / "store")
    twin = create_store(tmp_path / "twin", **arguments())
    group = zarr.open_group(str(twin.path))
    for spec in SPECS:
        group[spec.name][...] = rows_of(spec, twin)
    records = store.records("teacher")
    for number, spec in enumerate(SPECS):
        for block in store.blocks("teacher"):
            size = (twin.path / spec.file_name(block)).stat().st_size
            records.size_GJA[block.image_block, block.seed_block, number] = size
    for spec in SPECS:
        mapped = shard_map_of(twin, spec, records, check_planes)
        for order in (range(15), reversed(range(15))):
            for plane in order:
                with mapped.lock:
                    mapped.have([plane])
                    image_block, seed = divmod(plane, 5)
                    images = store.grid.block(image_block, 0).images
                    step = spec.row_bytes // mapped.unit
                    rows = mapped.rows[mapped.starts[plane] + np.array(images) * step]
                    expected = rows_of(spec, store)[images.start : images.stop, seed]
                    assert rows.tobytes() == expected.tobytes()
        # Boxes of 16 bytes lie off the raster after the first plane's checksum; flips of one byte cannot, and
        # their files are the same as ours.
        assert mapped.unit == 1
        assert (mapped.seed_starts < 0).all() == (spec.row_bytes > 1), "the short way is for our own files only"


def shard_map_of(store, spec, records, check_planes=False):
    return ShardMap(store.path, spec, store.grid, records, check_planes=check_planes)


def test_slots_begin_at_huge_pages_while_addresses_last():
    whole = MappedRange(3 * PAGE_BYTES)
    assert whole.__array_interface__["data"][0] % HUGE_PAGE_BYTES == 0
    assert shard_map._slot_bytes(10_000_000, 2000, 100) % (125 * HUGE_PAGE_BYTES) == 0
    assert shard_map._slot_bytes(10_000_000, 2 * 997, 100_000) % HUGE_PAGE_BYTES
    for row_bytes in (1, 2, 6, 2000, 2 * 997):
        slot = shard_map._slot_bytes(10_000_000, row_bytes, 100_000)
        assert slot % row_bytes == slot % PAGE_BYTES == 0
        assert slot >= 10_000_000 and slot * 100_000 < 1 << 46


@pytest.mark.parametrize("limit", [2, 1000])
def test_threads_read_at_once(undisturbed, monkeypatch, limit):
    monkeypatch.setattr(shard_map, "reserve_files", lambda owner, wanted: limit)
    expected = everything(undisturbed)
    wrong: list[str] = []
    with open_reader(undisturbed) as reader:

        def work(seed: int) -> None:
            random = np.random.default_rng(seed)
            for _ in range(60):
                images, seeds = random.integers(10, size=20), random.integers(5, size=20)
                for name, values in expected.items():
                    if not np.array_equal(reader.read(name, images, seeds), values[images, seeds]):
                        wrong.append(name)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_plane_is_checked_before_its_first_row_and_the_others_are_read(sealed):
    path = sealed / "teacher/logits/c.1.0.0"
    data = bytearray(path.read_bytes())
    second_plane = 4 * 12 + 12
    data[second_plane + 5] ^= 4
    overwrite(path, bytes(data))
    with open_reader(sealed) as reader:
        reader.read("teacher/logits", [4], [1])  # not checked: the flipped bit is not seen
    with open_reader(sealed, check_planes=True) as reader:
        for _ in range(2):
            with pytest.raises(
                DamagedFile,
                match=r"logits/c\.1\.0\.0: found crc32c .* in the plane of seed 1 \(images 4 to 7\), expected",
            ):
                reader.read("teacher/logits", [0, 4], [0, 1])
        with pytest.raises(DamagedFile, match="the plane of seed 1"):
            reader.read_plane("teacher/logits", 1)
        whole = rows_of(SPECS[3], open_store(sealed))
        assert np.array_equal(reader.read("teacher/logits", [4, 9], [0, 1]), whole[[4, 9], [0, 1]])
        assert np.array_equal(reader.read_plane("teacher/logits", 4), whole[:, 4])


def test_swapped_files_are_noticed_by_checking(sealed):
    first, second = sealed / "crop/box/c.0.0.0", sealed / "crop/box/c.0.1.0"
    first.rename(sealed / "kept")
    second.rename(first)
    (sealed / "kept").rename(second)
    with open_reader(sealed, check_planes=True) as reader, pytest.raises(DamagedFile, match=r"c\.0\.0\.0"):
        reader.read("crop/box", [0], [0])


def test_a_file_cut_short_before_it_is_mapped_is_an_error(sealed):
    """Once it is mapped nothing can be caught any more: the kernel ends the process (FORMAT.md says so)."""
    with open_reader(sealed) as reader:
        reader.read("crop/box", [0], [0])
        os.truncate(sealed / "crop/box/c.1.0.0", 20)
        with pytest.raises(DamagedFile, match=r"crop/box/c\.1\.0\.0: found 20 bytes"):
            reader.read("crop/box", [5], [0])


def test_one_file_replaced_under_an_open_reader_leaves_it_the_old_bytes(sealed):
    expected = everything(sealed)
    with open_reader(sealed) as reader:
        assert same(read_everything(reader), expected)
        path = sealed / "crop/box/c.0.0.0"
        (sealed / "new").write_bytes(bytes(len(path.read_bytes())))
        (sealed / "new").replace(path)
        assert same(read_everything(reader), expected)


def test_records_are_kept_by_place(undisturbed):
    store = open_store(undisturbed)
    table = RecordTable.empty(store.grid, ["a"])
    block = store.grid.block(2, 1)
    assert block not in table and len(table) == 0 and table.get(block) is None
    table.put(block, {"a": ShardRecord(size=7, sha256="ab" * 32, plane_crc32c=(1, 2))})
    assert block in table and len(table) == 1
    assert table.get(block) == {"a": ShardRecord(size=7, sha256="ab" * 32, plane_crc32c=(1, 2))}
    table.drop(block)
    assert table.get(block) is None
