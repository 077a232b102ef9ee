"""Sealing checks every file, names what is wrong, and leaves a clean Zarr hierarchy."""

from __future__ import annotations

import json
import warnings

import pytest
import zarr
from store_example import SPECS, arguments, content, finish, overwrite, resume, rows_of_block

from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError, DamagedFile, MissingBlocks, UnknownArray
from fdbpl.cache_layout.flat_array import put_flat, read_flat
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.writer import write_block


def test_a_seal_counts_and_is_a_function_of_the_content(tmp_path):
    store = resume(tmp_path / "a")
    with pytest.warns(zarr.errors.ZarrUserWarning, match="records"):
        list(zarr.open_group(str(store.path), mode="r").members())
    first = seal(store.path)
    assert (first.campaigns, first.num_blocks, first.num_files) == (("teacher",), 9, 36)
    assert first.num_bytes == sum(
        path.stat().st_size for spec in SPECS for path in (store.path / spec.name).glob("c.*")
    )
    assert store.is_sealed
    assert seal(store.path) == first
    finish(tmp_path / "b")
    assert seal(tmp_path / "b").digest == first.digest
    other = create_store(tmp_path / "c", **arguments())
    for block in other.blocks("teacher"):
        rows = rows_of_block(other, block)
        rows["crop/flip"] = ~rows["crop/flip"]
        write_block(other, "teacher", block, rows)
    assert seal(other.path).digest != first.digest


def test_a_sealed_store_is_a_clean_zarr_hierarchy(sealed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(str(sealed), mode="r")
        names = sorted(name for name, _ in group.members(max_depth=None))
    fields = group["records/teacher"].attrs["fdbpl_campaign"]
    assert fields.keys() == {"arrays", "manifest", "grid", "withdrawn", "seals", "digest"}
    assert [entry["files"] for entry in fields["seals"]] == [36]
    table = fields["seals"][0]["table"]
    assert names == [
        "classes", "classes/base", "classes/base/text_embedding", "crop", "crop/box", "crop/flip",
        "images", "images/0", "images/0/digest", "images/0/label", "images/0/path_bytes", "images/0/path_offsets",
        "images/0/size", "records", "records/teacher", f"records/teacher/{table}",
        f"records/teacher/{table}/plane_crc32c", f"records/teacher/{table}/sha256", f"records/teacher/{table}/size",
        "teacher", "teacher/embedding", "teacher/logits",
    ]  # fmt: skip
    assert not list(sealed.rglob(".*"))
    assert group[f"records/teacher/{table}/size"].shape == (9, 4)


def test_a_missing_block_is_named_and_nothing_is_sealed(tmp_path):
    store = create_store(tmp_path / "store", **arguments())
    for block in store.blocks("teacher"):
        if block.id not in ("1.2", "2.0"):
            write_block(store, "teacher", block, rows_of_block(store, block))
    with pytest.raises(MissingBlocks) as caught:
        seal(store.path)
    assert caught.value.missing == (
        "campaign teacher, block 1.2: no done-record",
        "campaign teacher, block 2.0: no done-record",
    )
    assert not store.is_sealed
    finish(store.path)
    assert store.is_sealed


def flip_bit(path, _):
    data = bytearray(path.read_bytes())
    data[3] ^= 16
    overwrite(path, data)


def truncate(path, _):
    overwrite(path, path.read_bytes()[:-1])


def empty(path, _):
    overwrite(path, b"")


def swap(path, other):
    first, second = path.read_bytes(), other.read_bytes()
    overwrite(path, second)
    overwrite(other, first)


@pytest.mark.parametrize(
    ("fault", "names", "says"),
    [
        (truncate, ["0.1.0"], "bytes, expected"),
        (empty, ["0.1.0"], "found 0 bytes"),
        (flip_bit, ["0.1.0"], "found sha256"),
        (swap, ["0.1.0", "1.0.0"], "found sha256"),
    ],
)
def test_damage_is_named_withdrawn_and_written_again(tmp_path, undisturbed, fault, names, says):
    store = resume(tmp_path / "store")
    fault(store.path / "teacher/embedding/c.0.1.0", store.path / "teacher/embedding/c.1.0.0")
    with pytest.raises(DamagedFile) as caught:
        seal(store.path)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        f"teacher/embedding/c.{name}" for name in names
    ]
    assert all(says in problem for problem in caught.value.problems)
    assert [block.id + ".0" for block in store.missing_blocks("teacher")] == names
    finish(store.path)
    assert content(store.path) == content(undisturbed)


def test_a_missing_file_is_named_beside_a_damaged_one(tmp_path):
    store = resume(tmp_path / "store")
    (store.path / "crop/box/c.2.2.0").unlink()
    with pytest.raises(MissingBlocks, match=r"crop/box/c.2.2.0: missing"):
        seal(store.path)
    resume(store.path)
    (store.path / "crop/box/c.2.2.0").unlink()
    flip_bit(store.path / "crop/flip/c.0.0", None)
    with pytest.raises(DamagedFile, match=r"(?s)crop/flip/c.0.0: found sha256.*crop/box/c.2.2.0: missing"):
        seal(store.path)


def test_a_record_of_another_store_does_not_count(tmp_path):
    store = resume(tmp_path / "store")
    path = store.path / ".records/teacher/1.1.json"
    fields = json.loads(path.read_bytes())
    overwrite(path, json.dumps({**fields, "fingerprint": "sha256:0"}).encode())
    assert [block.id for block in store.missing_blocks("teacher")] == ["1.1"]
    overwrite(path, b"{half a rec")
    assert [block.id for block in store.missing_blocks("teacher")] == ["1.1"]
    overwrite(path, json.dumps({**fields, "files": {}}).encode())
    assert [block.id for block in store.missing_blocks("teacher")] == ["1.1"]


def test_sealing_a_sealed_store_changes_nothing(sealed):
    before = content(sealed)
    first = seal(sealed)
    assert seal(sealed, "teacher") == first
    assert content(sealed) == before


@pytest.mark.parametrize("name", ["size", "sha256", "plane_crc32c"])
def test_records_changed_by_hand_break_the_seal(sealed, name):
    store = open_store(sealed)
    folder = sealed / "records/teacher" / store.campaign("teacher").seals[0].table / name
    values = read_flat(folder)
    values.reshape(-1)[0] += 1
    put_flat(folder, values)
    with pytest.raises(DamagedFile, match=r"records/teacher/_seal-0-.*: found digest sha256:.* expected"):
        store.records("teacher")


def test_a_seal_changed_by_hand_is_refused(sealed):
    path = sealed / "records/teacher/zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["fdbpl_campaign"]["seals"][0]["bytes"] += 1
    overwrite(path, json.dumps(document).encode())
    with pytest.raises(CacheError, match=r"found seal 0 with digest .* expected"):
        open_store(sealed).campaign("teacher")


def test_how_far_a_campaign_shall_reach_is_not_changed_by_hand(sealed):
    """Four seeds more look like a growth that nobody asked for."""
    path = sealed / "records/teacher/zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["fdbpl_campaign"]["grid"]["num_seeds"] = 9
    overwrite(path, json.dumps(document).encode())
    with pytest.raises(CacheError, match=r"found fields with digest .* expected"):
        open_store(sealed).campaign("teacher")


def test_sealing_sweeps_what_killed_writers_left(tmp_path):
    store = resume(tmp_path / "store")
    leftovers = ["crop/box/.tmp-h-1-a", ".records/teacher/.tmp-h-1-b", "records/teacher/.tmp-h-1-c"]
    for name in leftovers:
        (store.path / name).write_bytes(b"half")
    (tmp_path / ".store.tmp-h-1-d").mkdir()
    (tmp_path / ".store.tmp-h-1-d/zarr.json").write_bytes(b"{}")
    (tmp_path / ".other.tmp-h-1-e").mkdir()
    seal(store.path)
    assert not list(store.path.rglob(".*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.tmp-h-1-e", "store"]


def test_an_unknown_campaign(sealed):
    with pytest.raises(UnknownArray, match="no campaign 'student'"):
        seal(sealed, "student")
