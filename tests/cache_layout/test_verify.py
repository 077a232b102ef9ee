"""What `verify` finds, names, counts and leaves alone. That no flipped bit escapes it is `test_verify_flips`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import small_store
from small_store import build
from store_example import SPECS, arguments, content, overwrite
from verify_example import found, one, swap

from fdbpl.cache_layout import verify_shard
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import DamagedFile
from fdbpl.cache_layout.findings import Finding, Verification
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.verify import verify
from fdbpl.cache_layout.writer import write_block


def test_a_sound_store_is_counted_and_not_touched(sealed):
    before = content(sealed)
    calls = []
    verification = verify(sealed, unit_norm=False, on_progress=lambda *call: calls.append(call))
    total = sum(path.stat().st_size for spec in SPECS for path in (sealed / spec.name).glob("c.*"))
    assert verification == Verification(
        store=str(sealed),
        fingerprint=open_store(sealed).manifest.fingerprint,
        files=36,
        bytes=total,
        bytes_read=total,
        views=50,
    )
    assert verification.is_sound and verification.harmed_views == 0
    assert content(sealed) == before
    assert [path.name for path in sealed.parent.iterdir()] == ["store"]
    assert calls == sorted(calls) and calls[-1] == (total, total)


def test_a_report_travels_as_json(sealed):
    (sealed / "crop/box/c.1.0.0").unlink()
    verification = verify(sealed, unit_norm=False)
    values = json.loads(json.dumps(verification.to_json()))
    assert Verification.from_json(values) == verification
    assert (values["is_sound"], values["harmed_views"]) == (False, 8)
    with pytest.raises(ValueError, match="found no report"):
        Verification.from_json({"store": "a"})
    with pytest.raises(ValueError, match="kind: found 'odd'"):
        Verification.from_json({**values, "findings": [{**values["findings"][0], "kind": "odd"}]})


def test_a_missing_file(sealed):
    (sealed / "crop/box/c.1.0.0").unlink()
    assert one(sealed) == Finding(
        kind="missing",
        file="crop/box/c.1.0.0",
        what="the file is missing",
        campaign="teacher",
        block="1.0",
        views=8,
        seeds=(0, 1),
        images=(4, 7),
        paths=("class é/4.jpg", "class é/5.jpg", "class é/6.jpg"),
    )


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"", lambda data: data + b"\0", lambda data: data[:7]]
)
def test_another_size(sealed, change):
    path = sealed / "crop/flip/c.2.2"
    data = path.read_bytes()
    overwrite(path, change(data))
    finding = one(sealed)
    assert (finding.kind, finding.file, finding.views) == ("size", "crop/flip/c.2.2", 2)
    assert finding.what == f"found {len(change(data))} bytes, expected {len(data)}"


def test_a_harmed_plane_is_named(sealed):
    path = sealed / "teacher/logits/c.0.1.0"
    data = bytearray(path.read_bytes())
    data[50] ^= 1  # a plane is 4 rows of 12 bytes, its crc32c and padding, 60 bytes
    overwrite(path, data)
    finding = one(sealed)
    assert (finding.kind, finding.views, finding.seeds) == ("damaged", 0, ())
    assert "only padding or checksums" in finding.what
    data[50] ^= 1
    data[61] ^= 1
    overwrite(path, data)
    finding = one(sealed)
    assert (finding.kind, finding.views, finding.seeds, finding.images) == ("damaged", 4, (3,), (0, 3))
    assert finding.paths[0] == "class é/0.jpg"
    data[-1] ^= 1
    overwrite(path, data)
    finding = one(sealed)
    assert (finding.kind, finding.views, finding.seeds) == ("damaged", 8, (2, 3))
    assert "the index has crc32c" in finding.what and "1 of 2 planes are whole" in finding.what


def test_swapped_files_are_recognised_and_a_checking_reader_refuses_them(sealed):
    swap(sealed / "teacher/embedding/c.0.1.0", sealed / "teacher/embedding/c.1.0.0")
    assert found(sealed) == [
        ("swapped", "teacher/embedding/c.0.1.0"),
        ("swapped", "teacher/embedding/c.1.0.0"),
    ]
    assert verify(sealed, unit_norm=False).findings[0].what == "holds the content of teacher/embedding/c.1.0.0"
    with open_reader(sealed, check_planes=True) as reader, pytest.raises(DamagedFile, match="found crc32c"):
        reader.read("teacher/embedding", [0], [2])
    with open_reader(sealed, check_planes=True) as reader, pytest.raises(DamagedFile, match="found crc32c"):
        reader.read_plane("teacher/embedding", 0)


def test_a_file_of_another_array_in_its_place(sealed):
    shutil.copyfile(sealed / "crop/box/c.2.0.0", sealed / "copy")
    (sealed / "copy").rename(sealed / "teacher/logits/c.2.0.0")
    assert found(sealed) == [("swapped", "teacher/logits/c.2.0.0")]


def test_swapped_arrays_of_one_shape(tmp_path):
    """All files of both, their metadata as well: only the records tell them apart."""
    path = build(tmp_path / "store", grown=False)
    (path / "t/embedding").rename(path / "away")
    (path / "s/embedding").rename(path / "t/embedding")
    (path / "away").rename(path / "s/embedding")
    # Both hold the same rows, so nothing is wrong, until a row differs.
    assert verify(path).findings == ()
    other = create_store(tmp_path / "other", **small_arguments())
    for name, specs in small_store.SPECS.items():
        for block in other.blocks(name):
            rows = {spec.name: small_store.rows_of(spec, block) for spec in specs}
            rows |= {"s/embedding": -rows["s/embedding"]} if name == "s" else {}
            write_block(other, name, block, rows)
    seal(other.path)
    (other.path / "t/embedding").rename(other.path / "away")
    (other.path / "s/embedding").rename(other.path / "t/embedding")
    (other.path / "away").rename(other.path / "s/embedding")
    assert {kind for kind, _ in found(other.path, unit_norm=True)} == {"swapped"}
    assert len(found(other.path)) == 4
    with open_reader(other.path, check_planes=True) as reader, pytest.raises(DamagedFile):
        reader.read("s/embedding", [0], [0])


def small_arguments():
    return arguments(
        images=small_store.images_of(0, 3),
        class_lists=[small_store.CLASSES],
        num_seeds=2,
        images_per_block=2,
        campaigns=small_store.SPECS,
    )


def test_foreign_names_and_leftovers(sealed):
    (sealed / "crop/box/zarr.json~").write_bytes(b"{}")
    (sealed / "crop/box/c.9.0.0").write_bytes(b"")
    (sealed / "old/deep").mkdir(parents=True)
    (sealed / "old/deep/file").write_bytes(b"")
    (sealed / "images/1x").mkdir()
    (sealed / "link").symlink_to(sealed / "crop")
    (sealed / "teacher/.tmp-h-1-a").write_bytes(b"half")
    (sealed / ".records/teacher").mkdir(parents=True)
    (sealed / ".records/teacher/0.0.json").write_bytes(b"{}")
    (sealed / "records/teacher/_seal-0-abc").mkdir()
    verification = verify(sealed, unit_norm=False)
    assert [(finding.kind, finding.file) for finding in verification.findings] == [
        ("foreign", name) for name in ("crop/box/c.9.0.0", "crop/box/zarr.json~", "images/1x", "link", "old")
    ]
    assert verification.findings[-1].what == "the store has no such folder; 1 files lie in it"
    assert [note.split()[0] for note in verification.notes] == ["1", "1", "1"] and not verification.is_sound


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("zarr.json", b"ViT-H-14", b"ViT-B-32", "fingerprint"),
        ("zarr.json", b'"format_version": 2', b'"format_version": 9', "found format version 9"),
        ("zarr.json", b'"images_per_block": 4', b'"images_per_block": 5', "no array has the blocks"),
        ("zarr.json", b'{"attributes"', b'{ "attributes"', "at byte 1, expected"),
        ("crop/box/zarr.json", b'"image"', b'"imago"', "which its values give"),
        ("crop/zarr.json", b"group", b"grove", "which its values give"),
        ("records/zarr.json", b"{", b"[", "which its values give"),
        ("records/teacher/zarr.json", b'"num_seeds": 5', b'"num_seeds": 6', "digest"),
        ("images/0/zarr.json", b'"count": 10', b'"count": 11', "at byte"),
        ("images/0/label/c.0", b"\1\0\0\0", b"\2\0\0\0", "crc32c"),
        ("classes/base/zarr.json", b"red cat", b"red bat", "found digest"),
        ("classes/base/text_embedding/zarr.json", b'"attributes"', b'"attribotes"', "text_embedding"),
    ],
)
def test_edited_metadata(sealed, name, old, new, says):
    data = (sealed / name).read_bytes()
    assert old in data
    overwrite(sealed / name, data.replace(old, new))
    findings = verify(sealed, unit_norm=False).findings
    assert {finding.kind for finding in findings} == {"metadata"}
    assert any(name.startswith(finding.file) and says in finding.what for finding in findings), findings


def test_every_file_that_is_gone_is_missed(sealed):
    for name, data in content(sealed).items():
        (sealed / name).unlink()
        findings = verify(sealed, unit_norm=False).findings
        assert any(name.startswith(finding.file) for finding in findings if finding.kind != "incomplete"), name
        (sealed / name).write_bytes(data)
    assert verify(sealed, unit_norm=False).findings == ()


def test_a_folder_in_a_files_place(sealed):
    for name in content(sealed):
        (sealed / name).rename(sealed / "away")
        (sealed / name).mkdir()
        findings = verify(sealed, unit_norm=False).findings
        assert any(name.startswith(finding.file) and finding.kind != "foreign" for finding in findings), name
        (sealed / name).rmdir()
        (sealed / "away").rename(sealed / name)


def test_a_file_that_cannot_be_read(sealed, monkeypatch):
    real = verify_shard.os.preadv

    def fails(descriptor, *arguments):
        if Path(f"/proc/self/fd/{descriptor}").resolve() == sealed / "crop/box/c.1.0.0":
            raise OSError(5, "Input/output error")
        return real(descriptor, *arguments)

    monkeypatch.setattr(verify_shard.os, "preadv", fails)
    assert one(sealed).what == "cannot be read: Input/output error"
