"""What `verify` finds, names, counts and leaves alone. That no flipped bit escapes it is `test_verify_flips`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_store
from small_store import build
from store_example import SPECS, arguments, content, overwrite, rows_of_block

from fdbpl.cache_layout import verify_shard
from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.campaigns import save_campaign, seal_digest
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError, DamagedFile, UnknownArray
from fdbpl.cache_layout.files import record_of
from fdbpl.cache_layout.findings import Finding, Verification
from fdbpl.cache_layout.flat_array import put_flat
from fdbpl.cache_layout.grow import add_images
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.records import RecordTable, ShardRecord, columns_digest
from fdbpl.cache_layout.seal import _closed, seal
from fdbpl.cache_layout.shard import crc32c
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.tables import put_images
from fdbpl.cache_layout.verify import verify
from fdbpl.cache_layout.verify_values import bad_rows, norm_tolerance, row_check
from fdbpl.cache_layout.writer import write_block

FIXTURE = Path(__file__).parent / "formats/1/store.zarr"


def found(path, **options):
    """(kind, file) of each finding of a check of the stores of `store_example`, whose embeddings are no unit rows."""
    verification = verify(path, **{"unit_norm": False, **options})
    return [(finding.kind, finding.file) for finding in verification.findings]


def one(path, **options) -> Finding:
    findings = verify(path, **{"unit_norm": False, **options}).findings
    assert len(findings) == 1, findings
    return findings[0]


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


def swap(left, right):
    first, second = left.read_bytes(), right.read_bytes()
    overwrite(left, second)
    overwrite(right, first)


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


def test_images_that_the_seal_does_not_name(sealed):
    """An index that is whole in itself, with the same number of images."""
    images = open_store(sealed).images
    shutil.rmtree(sealed / "images/0")
    put_images(sealed / "images/0", replace(images, labels_N=np.zeros(10, int)))
    finding = one(sealed)
    assert (finding.kind, finding.file) == ("metadata", "images/0")
    assert "which seal 0 of campaign teacher names" in finding.what


def test_no_store_at_all(tmp_path):
    with pytest.raises(CacheError, match="no store at"):
        verify(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match="no store at"):
        verify(tmp_path / "file")
    with pytest.raises(CacheError, match="no store at"):
        verify(tmp_path)


def half_written(path):
    store = create_store(path, **arguments())
    for block in store.blocks("teacher"):
        if block.id not in ("0.1", "1.1", "2.2"):
            write_block(store, "teacher", block, rows_of_block(store, block))
    return store


def test_a_campaign_that_is_not_sealed(tmp_path):
    store = half_written(tmp_path / "store")
    verification = verify(store.path, unit_norm=False)
    assert [(each.kind, each.what) for each in verification.findings] == [
        ("incomplete", "not sealed: 3 of 9 blocks missing")
    ]
    assert verification.is_sound and verification.files == 24
    path = store.path / "crop/box/c.0.0.0"
    overwrite(path, path.read_bytes()[::-1])
    assert found(store.path) == [("incomplete", "records/teacher"), ("damaged", "crop/box/c.0.0.0")]


def test_only_the_campaigns_asked_for_are_read(tmp_path):
    path = build(tmp_path / "store")
    (path / "s/embedding/c.0.0.0").unlink()
    assert verify(path, campaigns=["t"]).is_sound
    assert verify(path, campaigns=["t"]).files == 6
    assert found(path, campaigns=["s"]) == [("missing", "s/embedding/c.0.0.0")]
    with pytest.raises(UnknownArray, match="no campaign 'x'"):
        verify(path, campaigns=["x"])


def test_a_store_that_grows_is_sound_all_along(tmp_path):
    path = build(tmp_path / "store", grown=False)
    add_images(open_store(path), small_store.images_of(3, 1))
    assert verify(path).findings == ()
    shutil.rmtree(path)
    assert verify(build(path)).findings == ()
    with open_reader(path, campaigns=["t"]) as reader:
        assert small_store.is_right(reader, {"t/flip": small_store.wanted(path)["t/flip"]})


def test_a_store_of_format_1(tmp_path):
    path = tmp_path / "store.zarr"
    shutil.copytree(FIXTURE, path)
    verification = verify(path, unit_norm=False)
    assert (verification.findings, verification.notes, verification.files) == ((), (), 45)
    for name in ("crop/box/c.0.1.0", "teacher/embedding/c.1.2.0"):
        data = bytearray((path / name).read_bytes())
        data[1] ^= 4
        overwrite(path / name, data)
    findings = verify(path, unit_norm=False).findings
    assert [(each.file, each.seeds) for each in findings] == [
        ("crop/box/c.0.1.0", (2,)),
        ("teacher/embedding/c.1.2.0", (4,)),
    ]


def test_an_interrupted_check_goes_on(sealed):
    calls = []

    def interrupt(done, total):
        calls.append(done)
        if len(calls) == 20:
            raise KeyboardInterrupt

    state = sealed.parent / "store.verify.jsonl"
    with pytest.raises(KeyboardInterrupt):
        verify(sealed, unit_norm=False, on_progress=interrupt)
    assert 0 < len(state.read_text().splitlines()) < 20
    kept = state.read_text()
    whole = verify(sealed, unit_norm=False, fresh=True)
    assert not state.exists() and whole.bytes_read == whole.bytes
    state.write_text(kept + '{"half a li')
    overwrite(sealed / "crop/box/c.0.0.0", (sealed / "crop/box/c.0.0.0").read_bytes()[::-1])
    again = verify(sealed, unit_norm=False)
    assert 0 < again.bytes_read < again.bytes == whole.bytes
    assert [finding.file for finding in again.findings] == ["crop/box/c.0.0.0"], "a file changed since does not count"
    assert not state.exists()
    state.write_text(kept)
    assert verify(sealed, jobs=1).bytes_read == whole.bytes, "a check without norms says nothing of norms"


def test_a_folder_that_cannot_be_written(sealed, monkeypatch):
    real = Path.open

    def refuses(path, mode="r", *arguments, **options):
        if path.name.endswith(".verify.jsonl") and "a" in mode:
            raise OSError(30, "Read-only file system")
        return real(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuses)
    verification = verify(sealed, unit_norm=False)
    assert verification.is_sound and verification.files == 36
    assert verification.notes == (
        f"{sealed}.verify.jsonl cannot be written (Read-only file system): if this check is cut off, it begins anew",
    )


def test_threads_find_the_same(sealed, monkeypatch):
    monkeypatch.setattr("fdbpl.cache_layout.verify._SMALL_BYTES", 0)
    swap(sealed / "teacher/embedding/c.0.1.0", sealed / "teacher/embedding/c.1.0.0")
    (sealed / "crop/box/c.0.0.0").unlink()
    assert verify(sealed, unit_norm=False, jobs=3) == verify(sealed, unit_norm=False, jobs=1)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(sealed, unit_norm=False, jobs=3, on_progress=interrupt)


def forge_file(path: Path, array: str, change, crcs_of=lambda old, data: old) -> None:
    """Let a foreign writer change the bytes of an array's first file: records and seals are made to fit."""
    store = open_store(path)
    name = next(name for name, specs in store.campaigns.items() if any(spec.name == array for spec in specs))
    campaign = store.campaign(name)
    table = store.records(campaign)
    block = campaign.grid.block(0, 0)
    file = path / store.arrays[array].file_name(block)
    data = bytearray(file.read_bytes())
    change(data)
    overwrite(file, data)
    old = table.get(block)
    found_now = record_of(file)
    crcs = crcs_of(old[array].plane_crc32c, data)
    table.put(block, {**old, array: ShardRecord(size=found_now.size, sha256=found_now.sha256, plane_crc32c=crcs)})
    shutil.rmtree(path / f"records/{name}/{campaign.seals[0].table}")
    save_campaign(path, _closed(store, replace(campaign, seals=()), table))


def forge(path: Path, array: str, change) -> None:
    """Let a foreign writer change the values of an array's first plane."""
    store = open_store(path)
    spec = store.arrays[array]
    plane_bytes = store.grid.images_per_block * spec.row_bytes

    def change_plane(data):
        values = np.frombuffer(data, spec.numpy_dtype, plane_bytes // spec.numpy_dtype.itemsize).copy()
        change(values)
        data[:plane_bytes] = values.tobytes()
        data[plane_bytes : plane_bytes + 4] = crc32c(bytes(data[:plane_bytes]))

    def crcs_of(old, data):
        return (int.from_bytes(crc32c(bytes(data[:plane_bytes])), "little"), *old[1:])

    forge_file(path, array, change_plane, crcs_of)


@pytest.mark.parametrize(
    ("entry", "says"),
    [([0, 36], "lie over one another"), ([2**64 - 1] * 2, "lacks a plane"), ([0, 35], "that is not a plane")],
)
def test_an_index_of_a_foreign_writer_that_does_not_fit(sealed, entry, says):
    """The second plane, of 4 rows of 8 bytes and a checksum, has another entry than ours."""
    forge_file(sealed, "crop/flip", lambda data: None)
    assert found(sealed) == []

    def change(data):
        index = np.frombuffer(data[-36:-4], "<u8").copy()
        index[2:] = np.array(entry, "<u8") if entry[0] else [index[0], index[1] - (36 - entry[1])]
        data[-36:] = index.tobytes() + crc32c(index.tobytes())

    forge_file(sealed, "crop/flip", change)
    finding = one(sealed)
    assert (finding.kind, finding.file, finding.views) == ("damaged", "crop/flip/c.0.0", 8)
    assert "its bytes are the recorded ones" in finding.what and says in finding.what


def test_nan_of_a_foreign_writer(sealed):
    def change(values):
        values[3 * 1 + 2] = np.nan

    forge(sealed, "teacher/logits", change)
    finding = one(sealed)
    assert (finding.kind, finding.file, finding.views, finding.seeds) == (
        "not_finite",
        "teacher/logits/c.0.0.0",
        1,
        (0,),
    )
    assert finding.images == (1, 1) and finding.paths == ("class é/1.jpg",)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, -np.nan])
def test_infinity_in_an_embedding(tmp_path, value):
    path = build(tmp_path / "store", grown=False)

    def change(values):
        values[1] = value

    forge(path, "s/embedding", change)
    for unit_norm in (True, False):
        finding = one(path, unit_norm=unit_norm)
        assert (finding.kind, finding.file, finding.images) == ("not_finite", "s/embedding/c.0.0.0", (0, 0))


def test_an_embedding_that_is_not_unit(tmp_path):
    path = build(tmp_path / "store", grown=False)

    def change(values):
        values[2:4] *= np.float16(1.01)

    forge(path, "s/embedding", change)
    finding = one(path, unit_norm=True)
    assert (finding.kind, finding.file, finding.images, finding.views) == ("not_unit", "s/embedding/c.0.0.0", (1, 1), 1)
    assert verify(path, unit_norm=False).is_sound


def test_a_record_with_another_plane_checksum(sealed):
    store = open_store(sealed)
    campaign = store.campaign("teacher")
    table = store.records(campaign)
    table.crc_GJAP[1, 1, 0, 1] += 1
    shutil.rmtree(sealed / f"records/teacher/{campaign.seals[0].table}")
    save_campaign(sealed, _closed(store, replace(campaign, seals=()), table))
    finding = one(sealed)
    assert (finding.kind, finding.file, finding.seeds) == ("damaged", "crop/box/c.1.1.0", (3,))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("width", [2, 7, 1024])
def test_rounded_unit_rows_pass_and_others_do_not(dtype, width):
    spec = ArraySpec(name="x/embedding", row_shape=(width,), dtype=dtype)
    rows_RD = np.random.default_rng(0).normal(size=(200, width)) ** 5  # among them subnormal numbers
    rows_RD /= np.linalg.norm(rows_RD, axis=1, keepdims=True)
    check = row_check(spec, unit_norm=True)
    good = rows_RD.astype(dtype)
    assert check(good.reshape(-1).view(np.uint8))
    assert not len(bad_rows(good.reshape(-1).view(np.uint8), spec, unit_norm=True)["not_unit"])
    for factor in (1 - 3 * norm_tolerance(spec), 1 + 3 * norm_tolerance(spec), 0.0):
        bad = rows_RD.copy()
        bad[137] *= factor
        raw = bad.astype(dtype).reshape(-1).view(np.uint8)
        assert not check(raw)
        assert bad_rows(raw, spec, unit_norm=True)["not_unit"].tolist() == [137]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_kind_of_number_is_told_finite_or_not(dtype):
    spec = ArraySpec(name="x/logits", row_shape=(), dtype=dtype)
    check = row_check(spec, unit_norm=True)
    kind = np.finfo(dtype)
    for value in (0.0, -0.0, kind.max, kind.min, kind.smallest_subnormal, -kind.smallest_subnormal, -1.0):
        assert check(np.array([1.0, value], dtype).view(np.uint8)), value
    for value in (np.inf, -np.inf, np.nan, -np.nan):
        assert not check(np.array([1.0, value], dtype).view(np.uint8)), value


def test_large_files_are_read_in_pieces(tmp_path, monkeypatch):
    """Pieces much smaller than a plane, and rows that do not divide them."""
    path = build(tmp_path / "store")
    for piece_bytes in (1, 3, 4, 5, 64):
        monkeypatch.setattr(verify_shard, "PIECE_BYTES", piece_bytes)
        assert verify(path).findings == ()


def test_a_table_of_another_campaign_is_refused(tmp_path):
    """A table whose digest a seal vouches for, with other shapes than the campaign has blocks and arrays."""
    path = build(tmp_path / "store", grown=False)
    store = open_store(path)
    campaign = store.campaign("s")
    columns = RecordTable.empty(campaign.grid, ["a", "b"]).columns(list(campaign.grid.blocks()))
    table = path / "records/s" / campaign.seals[0].table
    for name, values in columns.items():
        put_flat(table / name, values)
    entry = replace(campaign.seals[0], table_digest=columns_digest(columns))
    entry = replace(entry, digest=seal_digest(store.manifest.fingerprint, campaign, entry, None))
    save_campaign(path, replace(campaign, seals=(entry,)))
    with pytest.raises(DamagedFile, match="found shapes"):
        open_store(path).records("s")
    assert found(path)[0][0] == "metadata"
