"""Metadata that can be made again are; what cannot is told, and never guessed."""

from __future__ import annotations

import json

import pytest
import small_store
from repair_example import check, flip, truncate, unlink
from store_example import arguments, content, overwrite

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.grow import add_campaign
from fdbpl.cache_layout.repair import repair
from fdbpl.cache_layout.store import open_store

REWRITTEN = [
    "crop/zarr.json",
    "crop/box/zarr.json",
    "records/zarr.json",
    "images/zarr.json",
    "teacher/logits/zarr.json",
]


@pytest.mark.parametrize("harm", [flip, unlink, truncate, lambda path: overwrite(path, b"")])
@pytest.mark.parametrize("name", REWRITTEN)
def test_metadata_that_follow_from_sound_values_are_written_anew(sealed, undisturbed, name, harm):
    harm(sealed / name)
    done = repair(sealed, check(sealed))
    assert (done.rewritten, done.withdrawn, done.left) == ((name,), {}, ())
    assert content(sealed) == content(undisturbed)


def test_all_groups_and_arrays_at_once(sealed, undisturbed):
    """As a copy leaves them that took no `zarr.json` of arrays along."""
    for name in [*REWRITTEN, "crop/flip/zarr.json", "teacher/embedding/zarr.json", "teacher/zarr.json"]:
        (sealed / name).unlink()
    assert repair(sealed, check(sealed)).is_complete
    assert content(sealed) == content(undisturbed)


def test_what_cannot_be_made_again_is_told(sealed):
    table = open_store(sealed).campaign("teacher").seals[0].table
    for name in ("images/0/label/c.0", "classes/base/zarr.json", f"records/teacher/{table}/size/c.0.0"):
        (sealed / name).rename(sealed.parent / "away")
        done = repair(sealed, check(sealed))
        assert not done.is_complete and done.withdrawn == {} and done.rewritten == ()
        assert any(name.startswith(left.file) and "from a copy" in left.advice for left in done.left), done.left
        (sealed.parent / "away").rename(sealed / name)
    (sealed / "records/teacher/zarr.json").rename(sealed.parent / "away")
    before = content(sealed)
    done = repair(sealed, check(sealed))
    assert [left.file for left in done.left] == ["records/teacher/zarr.json"]
    assert content(sealed) == before
    (sealed.parent / "away").rename(sealed / "records/teacher/zarr.json")
    (sealed / "notes.txt").write_bytes(b"")
    assert [left.file for left in repair(sealed, check(sealed)).left] == ["notes.txt"]


def test_a_campaigns_group_is_never_made_a_plain_one(sealed):
    path = sealed / "records/teacher/zarr.json"
    overwrite(path, path.read_bytes().replace(b"fdbpl_campaign", b"fdbpl_campaigm"))
    before = content(sealed)
    done = repair(sealed, check(sealed))
    assert [left.file for left in done.left] == ["records/teacher/zarr.json"] and done.rewritten == ()
    assert content(sealed) == before


def test_a_campaign_above_another_is_never_made_a_plain_group(sealed):
    for name in ("student", "student/x"):
        spec = ArraySpec(name=f"{name.replace('/', '-')}/embedding", row_shape=(2,), dtype="float16")
        add_campaign(open_store(sealed), name, [spec])
    assert check(sealed).is_sound
    path = sealed / "records/student/zarr.json"
    overwrite(path, path.read_bytes().replace(b"fdbpl_campaign", b"fdbpl_campaigm"))
    before = content(sealed)
    done = repair(sealed, check(sealed))
    assert [left.file for left in done.left] == ["records/student/zarr.json"] and done.rewritten == ()
    assert content(sealed) == before


def test_other_blocks_in_the_root_withdraw_nothing(sealed):
    """Read with other blocks, every file would seem harmed."""
    path = sealed / "zarr.json"
    for old, new in ((b'"images_per_block": 4', b'"images_per_block": 6'), (b'block": 2', b'block": 3')):
        good = path.read_bytes()
        assert old in good
        overwrite(path, good.replace(old, new))
        before = content(sealed)
        done = repair(sealed, check(sealed))
        assert (done.withdrawn, done.rewritten) == ({}, ()) and done.left
        assert content(sealed) == before
        overwrite(path, good)


def test_a_folder_in_a_files_place_is_left_and_its_block_withdrawn(sealed):
    path = sealed / "crop/box/c.0.0.0"
    path.unlink()
    path.mkdir()
    done = repair(sealed, check(sealed))
    assert done.withdrawn == {"teacher": ("0.0",)}
    assert [(left.file, left.advice.split(":")[0]) for left in done.left] == [
        ("crop/box/c.0.0.0", "nothing was done with it")
    ]


def test_reports_on_another_store_are_refused(sealed, tmp_path):
    report = check(sealed)
    other = create_store(tmp_path / "other", **arguments(manifest=small_store.Manifest({"other": 1})))
    with pytest.raises(ValueError, match="found a report on a store with fingerprint"):
        repair(other.path, report)
    overwrite(sealed / "zarr.json", b"{")
    with pytest.raises(CacheError):
        repair(sealed, check(sealed))


def test_a_repair_travels_as_json(sealed):
    flip(sealed / "crop/box/c.0.0.0")
    assert json.loads(json.dumps(repair(sealed, check(sealed)).to_json())) == {
        "store": str(sealed),
        "withdrawn": {"teacher": ["0.0"]},
        "removed": ["crop/box/c.0.0.0"],
        "rewritten": [],
        "left": [],
        "is_complete": True,
    }
