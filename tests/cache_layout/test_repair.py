"""Repairing withdraws the harmed blocks and no others; written again and sealed, the store is whole."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import small_store
from repair_example import check, flip, truncate, unlink
from small_store import build
from store_example import content, finish, overwrite, resume, rows_of, rows_of_block
from test_kills import every_moment
from verify_example import forge

from fdbpl.cache_layout.errors import UnsealedStore
from fdbpl.cache_layout.findings import Finding, Verification
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.repair import repair
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.verify import verify
from fdbpl.cache_layout.writer import write_block


@pytest.mark.parametrize("harm", [flip, unlink, truncate])
def test_a_harmed_block_is_withdrawn_written_again_and_the_store_is_as_before(sealed, undisturbed, harm):
    harm(sealed / "teacher/embedding/c.1.2.0")
    before = content(sealed)
    planned = repair(sealed, check(sealed), dry_run=True)
    assert content(sealed) == before
    done = repair(sealed, check(sealed))
    assert done == planned and done.is_complete
    assert done.withdrawn == {"teacher": ("1.2",)}
    assert done.removed == (() if harm is unlink else ("teacher/embedding/c.1.2.0",))
    left = {name: data for name, data in before.items() if name != "teacher/embedding/c.1.2.0"}
    changed = {name for name, data in content(sealed).items() if left.get(name) != data}
    assert changed == {"records/teacher/zarr.json"} and content(sealed).keys() == left.keys(), "sound files stay"
    with pytest.raises(UnsealedStore, match=r"missing blocks 1.2"):
        open_reader(sealed)
    after = check(sealed)
    assert after.is_sound and after.findings[0].what == (
        "not sealed: 1 of 9 blocks missing, 1 were found damaged and withdrawn"
    )
    assert [block.id for block in open_store(sealed).missing_blocks("teacher")] == ["1.2"]
    finish(sealed)
    assert content(sealed) == content(undisturbed)
    assert check(sealed).findings == ()


def test_nothing_to_repair(sealed):
    before = content(sealed)
    done = repair(sealed, check(sealed))
    assert (done.withdrawn, done.removed, done.rewritten, done.left) == ({}, (), (), ())
    assert content(sealed) == before


def test_several_blocks_and_repairing_twice(sealed, undisturbed):
    flip(sealed / "crop/box/c.0.0.0")
    flip(sealed / "crop/flip/c.0.0", 0)
    unlink(sealed / "teacher/logits/c.2.1.0")
    report = check(sealed)
    assert repair(sealed, report).withdrawn == {"teacher": ("0.0", "2.1")}
    once = content(sealed)
    again = repair(sealed, report)
    assert (again.withdrawn, again.removed) == ({}, ())
    assert repair(sealed, check(sealed)).withdrawn == {}
    assert content(sealed) == once
    flip(sealed / "crop/box/c.1.1.0")
    assert repair(sealed, check(sealed)).withdrawn == {"teacher": ("1.1",)}
    assert open_store(sealed).campaign("teacher").withdrawn == ("0.0", "1.1", "2.1")
    finish(sealed)
    assert content(sealed) == content(undisturbed)
    assert repair(sealed, report).withdrawn == {}, "an old report does no harm"
    assert content(sealed) == content(undisturbed)


def test_repair_cut_off_at_every_step(tmp_path, monkeypatch, undisturbed):
    harmed = tmp_path / "harmed"
    shutil.copytree(undisturbed, harmed)
    flip(harmed / "crop/box/c.0.0.0")
    flip(harmed / "teacher/logits/c.2.1.0")
    unlink(harmed / "crop/flip/c.1.0")
    overwrite(harmed / "crop/zarr.json", b"")
    # A kill between sealing and tidying leaves done-records, which must not vouch for a block that was withdrawn.
    resume(tmp_path / "pending")
    shutil.copytree(tmp_path / "pending/.records", harmed / ".records")
    report = check(harmed)

    def prepare(step):
        return shutil.copytree(harmed, tmp_path / f"{step}" / "store")

    moments = 0
    for path in every_moment(monkeypatch, prepare, lambda path: repair(path, report)):
        gone = [name for name in content(undisturbed) if not (path / name).exists() and name != "crop/flip/c.1.0"]
        if gone:
            with pytest.raises(UnsealedStore):
                open_reader(path)
        missing = {block.id for block in open_store(path).missing_blocks("teacher")}
        assert set(open_store(path).campaign("teacher").withdrawn) <= missing, "an old done-record vouches for it"
        again = report if moments % 2 else check(path)
        repair(path, again)
        assert {block.id for block in open_store(path).missing_blocks("teacher")} == {"0.0", "1.0", "2.1"}
        finish(path)
        assert content(path) == content(undisturbed)
        moments += 1
    assert moments > 8


def test_a_campaign_that_is_not_sealed(tmp_path, undisturbed):
    store = resume(tmp_path / "store")
    flip(store.path / "crop/box/c.0.1.0")
    done = repair(store.path, check(store.path))
    assert done.withdrawn == {"teacher": ("0.1",)}
    assert open_store(store.path).campaign("teacher").withdrawn == ()
    assert [block.id for block in store.missing_blocks("teacher")] == ["0.1"]
    assert not (store.path / "crop/box/c.0.1.0").exists()
    finish(store.path)
    assert content(store.path) == content(undisturbed)


def test_a_grown_campaign_gets_one_seal_over_all(tmp_path):
    path = build(tmp_path / "store")
    other = content(path)
    assert len(open_store(path).campaign("t").seals) == 2
    flip(path / "t/embedding/c.0.0.0")
    flip(path / "t/flip/c.2.0", 0)
    assert repair(path, verify(path)).withdrawn == {"t": ("0.0", "2.0")}
    small_store.write(open_store(path), "t")
    seal(path)
    assert len(open_store(path).campaign("t").seals) == 1
    assert verify(path).findings == ()
    for name, data in content(path).items():
        assert data == other.get(name) or name.startswith("records/t/"), name
    with open_reader(path) as reader:
        assert small_store.is_right(reader, small_store.wanted(path))


def test_other_values_seal_as_another_store(sealed, undisturbed):
    """A teacher that is not deterministic: the block's other bytes are recorded, and the seal tells."""
    flip(sealed / "teacher/logits/c.1.1.0")
    repair(sealed, check(sealed))
    store = open_store(sealed)
    (block,) = store.missing_blocks("teacher")
    rows = rows_of_block(store, block)
    rows["teacher/logits"] = np.nextafter(rows["teacher/logits"], np.float32(0))
    write_block(store, "teacher", block, rows)
    seal(sealed)
    assert check(sealed).findings == ()
    assert open_store(sealed).campaign("teacher").seal_digest != open_store(undisturbed).campaign("teacher").seal_digest
    with open_reader(sealed, check_planes=True) as reader:
        got = reader.read("teacher/logits", [4], [2])
    assert np.array_equal(got[0], rows["teacher/logits"][0, 0])


def test_values_that_make_no_sense_are_withdrawn(tmp_path):
    path = build(tmp_path / "store", grown=False)

    def change(values):
        values[2:4] *= np.float16(1.01)

    forge(path, "s/embedding", change)
    assert repair(path, verify(path, unit_norm=False)).withdrawn == {}
    assert repair(path, verify(path)).withdrawn == {"s": ("0.0",)}
    small_store.write(open_store(path), "s")
    seal(path)
    assert content(path) == content(build(tmp_path / "other", grown=False))


def test_a_reader_that_is_open_goes_on(sealed):
    store = open_store(sealed)
    spec = store.arrays["crop/box"]
    with open_reader(sealed) as reader:
        reader.read("crop/box", [0, 4], [0, 0])
        report = check(sealed)
        harmed = Finding(
            kind="damaged", file="crop/box/c.0.0.0", what="", campaign="teacher", block="0.0", views=8, seeds=(0, 1)
        )
        fake = Verification(store=report.store, fingerprint=report.fingerprint, findings=(harmed,))
        assert repair(sealed, fake).withdrawn == {}, "a sound file is not withdrawn, whatever a report says"
        truth = (sealed / "crop/box/c.0.0.0").read_bytes()
        (sealed / "crop/box/c.0.0.0").unlink()
        (sealed / "crop/box/c.0.0.0").write_bytes(truth[:-1])
        assert repair(sealed, check(sealed)).withdrawn == {"teacher": ("0.0",)}
        assert np.array_equal(reader.read("crop/box", [1, 5], [1, 1]), rows_of(spec, store)[[1, 5], [1, 1]])
        finish(sealed)
        assert np.array_equal(reader.read("crop/box", [2, 6], [1, 1]), rows_of(spec, store)[[2, 6], [1, 1]])
